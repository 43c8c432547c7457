"""Backups by the clock: when they are due, how many are kept, and what is said when they fail."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.backup.erasure_list import ErasureLists, read
from core.backup.restoring import verify
from core.backup.schedule import BackupSchedule, BackupState
from core.backup.sealing import Secret
from core.config.settings import Settings, load_settings
from core.domain.errors import StartError
from core.domain.system import ComponentHealth
from core.services.service import RobiService
from tests.unit.backup.conftest import Gallery, there

START = datetime(2026, 5, 1, 3, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(gallery: Gallery, tmp_path: Path, clock: Clock) -> Callable[..., BackupSchedule]:
    def schedule(**values: object) -> BackupSchedule:
        chosen = {"robi_backup_dir": str(tmp_path / "backups"), "robi_backup_keep": 3, **values}
        settings = Settings(_env_file=None, robi_data_dir=gallery.data_dir, **chosen)
        lists = ErasureLists([], gallery.ledger.feed.gallery_id, gallery.ledger.erased)
        return BackupSchedule(settings, lists, clock)

    return schedule


def test_one_is_made_at_once_and_then_after_so_many_hours(
    make: Callable[..., BackupSchedule], clock: Clock, tmp_path: Path
):
    schedule = make(robi_backup_hours=6)
    assert schedule.state() == BackupState(None, None)
    assert schedule.tick() == timedelta(hours=6)
    assert there(tmp_path / "backups") == {"robi-20260501T030000Z.backup"}
    assert schedule.state() == BackupState(START, None)
    clock.now += timedelta(hours=2)
    assert make(robi_backup_hours=6).tick() == timedelta(hours=4), "also after a restart"
    clock.now += timedelta(hours=4)
    schedule.tick()
    assert schedule.state() == BackupState(START + timedelta(hours=6), None)
    assert len(there(tmp_path / "backups")) == 2


def test_the_newest_are_kept_and_what_is_not_ours_is_left_alone(
    make: Callable[..., BackupSchedule], clock: Clock, tmp_path: Path
):
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / "mine.backup").touch()
    (folder / "robi-20260430T000000Z.backup.part").touch()  # of one that was killed
    schedule = make()
    for day in range(6):
        clock.now = START + timedelta(days=day)
        schedule.tick()
    ours = {f"robi-2026050{day}T030000Z.backup" for day in (4, 5, 6)}
    assert there(folder) == {"mine.backup", *ours}


def test_a_clock_that_was_set_back_costs_no_new_backup(
    make: Callable[..., BackupSchedule], clock: Clock, tmp_path: Path
):
    schedule = make(robi_backup_keep=1)
    schedule.tick()
    clock.now -= timedelta(days=30)
    schedule.tick()
    assert there(tmp_path / "backups") == {"robi-20260401T030000Z.backup"}


def test_they_are_encrypted_by_the_key_file(make: Callable[..., BackupSchedule], tmp_path: Path):
    (tmp_path / "key").write_text("correct horse battery\n")
    make(robi_backup_key_file=str(tmp_path / "key")).tick()
    (backup,) = (tmp_path / "backups").iterdir()
    assert verify(backup, Secret(b"correct horse battery")).encrypted


def test_a_failure_is_told_and_tried_again_soon_and_costs_no_old_backup(
    make: Callable[..., BackupSchedule], clock: Clock, tmp_path: Path
):
    (tmp_path / "key").write_text("correct horse battery\n")
    schedule = make(robi_backup_key_file=str(tmp_path / "key"))
    schedule.tick()
    clock.now += timedelta(days=1)
    (tmp_path / "key").unlink()
    assert schedule.tick() == timedelta(minutes=10)
    state = schedule.state()
    assert state == BackupState(START, "The key file cannot be read: No such file or directory.")
    assert there(tmp_path / "backups") == {"robi-20260501T030000Z.backup"}
    (tmp_path / "key").write_text("correct horse battery\n")
    schedule.tick()
    assert schedule.state() == BackupState(clock.now, None)


def test_a_directory_that_cannot_be_is_told(make: Callable[..., BackupSchedule], tmp_path: Path):
    (tmp_path / "backups").write_text("a file")
    schedule = make()
    schedule.tick()
    state = schedule.state()
    assert state is not None
    assert state.problem == "The directory of backups cannot be used: File exists."


def test_without_a_directory_nothing_is_done(make: Callable[..., BackupSchedule], tmp_path: Path):
    schedule = make(robi_backup_dir="")
    schedule.start()
    schedule.tick()
    schedule.close()
    assert schedule.state() is None
    assert not (tmp_path / "backups").exists()


def test_backups_do_not_go_down_with_the_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    for place in ("data", "data/backups", "./data/../data/x"):
        with pytest.raises(StartError) as refused:
            load_settings(robi_data_dir="data", robi_backup_dir=place)
        assert refused.value.code == "invalid_setting"
    load_settings(robi_data_dir="data", robi_backup_dir="data-backups")


def component(service: RobiService) -> ComponentHealth:
    return next(part for part in service.monitor.health().components if part.name == "backup")


def test_a_running_robi_makes_them_and_health_says_so(
    make_service: Callable[..., RobiService], tmp_path: Path
):
    service = make_service(robi_backup_dir=str(tmp_path / "backups"))
    assert (component(service).status, component(service).detail) == ("ok", "None yet.")
    service.backups.start()
    until = time.monotonic() + 30
    while component(service).detail == "None yet." and time.monotonic() < until:
        time.sleep(0.05)
    assert component(service).detail.startswith("The newest is of 20")
    assert service.monitor.health().status == "ok"
    listed = read(tmp_path / "backups" / "erasures.list", service.ledger.feed.gallery_id)
    assert listed.persons == frozenset(), "the list of erasures lies beside them"


def test_health_is_degraded_when_they_fail(make_service: Callable[..., RobiService], tmp_path: Path):
    service = make_service(robi_backup_dir=str(tmp_path / "backups"))
    (tmp_path / "backups" / "erasures.list").unlink()
    (tmp_path / "backups").rmdir()
    (tmp_path / "backups").write_text("a file")
    service.backups.tick()
    assert service.monitor.health().status == "degraded"
    assert component(service).detail == (
        "The directory of backups cannot be used: File exists. There is no backup yet."
    )
    (tmp_path / "backups").unlink()
    service.backups.tick()
    assert (service.monitor.health().status, component(service).status) == ("ok", "ok")


def test_without_a_schedule_health_speaks_of_backups_only_when_a_list_is_behind(
    service: RobiService, photos: dict[str, bytes]
):
    assert "backup" not in {part.name for part in service.monitor.health().components}
    service.enrollment.enroll("ana", "Ana", [("ana.png", photos["astronaut"])], via="api")
    path = service.settings.robi_data_dir / "erasures.list"
    path.rename(path.with_name("away"))
    path.mkdir()
    assert service.erasures.erase("ana").left["ledger"] == 0, "the erasure does not wait for the list"
    assert component(service).status == "degraded"
    assert component(service).detail.startswith("The list of erasures cannot be written: ")
