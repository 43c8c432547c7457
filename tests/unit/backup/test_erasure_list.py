"""Whoever was erased after a backup was made does not come back with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.backup import erasure_list
from core.backup.erasure_list import ErasureLists, read
from core.backup.making import back_up
from core.backup.restoring import restore
from core.domain.errors import BackupError
from core.domain.search import Strategy
from core.services.service import RobiService
from tests.unit.backup.conftest import Found, Gallery, enroll, follow, opened, people, there


@pytest.fixture
def backup(gallery: Gallery, tmp_path: Path) -> Path:
    """Without a list: nobody was erased when it was made who is in it."""
    back_up(gallery.data_dir, tmp_path / "robi.backup", None)
    return tmp_path / "robi.backup"


def lists_of(gallery: Gallery) -> list[Path]:
    follow(gallery.ledger, gallery.data_dir)
    return [gallery.data_dir / erasure_list.NAME]


def test_the_erased_are_not_there_by_any_strategy(
    gallery: Gallery, backup: Path, tmp_path: Path, found: Found
):
    gallery.ledger.people.erase("person-7")
    gallery.ledger.people.erase("person-8")
    done = restore(backup, tmp_path / "new", None, lists_of(gallery))
    assert (done.erased_again, done.lists) == (2, 1)
    for number in (7, 8):
        assert {found(tmp_path / "new", number, strategy) for strategy in Strategy} == {None}
    assert {found(tmp_path / "new", 9, strategy) for strategy in Strategy} == {"person-9"}
    data = (tmp_path / "new" / "ledger.db").read_bytes()
    assert b"Somebody Nr. 7" not in data
    assert b"thumbnail of 7" not in data
    assert b"Somebody Nr. 9" in data


def test_without_a_list_they_are_and_that_is_told(gallery: Gallery, backup: Path, tmp_path: Path):
    gallery.ledger.people.erase("person-7")
    done = restore(backup, tmp_path / "new", None, [])
    assert (done.erased_again, done.lists, done.listed_until) == (0, 0, None)
    assert "person-7" in people(tmp_path / "new")


@pytest.mark.parametrize("place", ["new", "."])
def test_a_list_in_the_directory_or_beside_the_backup_is_found(
    gallery: Gallery, backup: Path, tmp_path: Path, place: str
):
    gallery.ledger.people.erase("person-7")
    (tmp_path / "new").mkdir()
    shutil.copy(lists_of(gallery)[0], tmp_path / place)
    assert restore(backup, tmp_path / "new", None, []).erased_again == 1
    assert "person-7" not in people(tmp_path / "new")


def test_whoever_is_enrolled_again_under_the_same_id_stays(gallery: Gallery, tmp_path: Path):
    gallery.ledger.people.erase("person-7")
    enroll(gallery.ledger, 7)
    back_up(gallery.data_dir, tmp_path / "robi.backup", None)
    done = restore(tmp_path / "robi.backup", tmp_path / "new", None, lists_of(gallery))
    assert done.erased_again == 0
    assert "person-7" in people(tmp_path / "new")


def test_who_was_merged_into_somebody_erased_does_not_come_back_either(
    gallery: Gallery, backup: Path, tmp_path: Path
):
    register = gallery.ledger.people
    register.merge("person-10", into="person-11")
    register.merge("person-11", into="person-12")
    register.merge("person-13", into="person-14")
    enroll(gallery.ledger, 10)  # somebody else, who is erased, too; person-13 lives on as person-14
    register.erase("person-10")
    register.erase("person-12")
    assert restore(backup, tmp_path / "new", None, lists_of(gallery)).erased_again == 3
    left = people(tmp_path / "new")
    assert left & {"person-10", "person-11", "person-12"} == set()
    assert left >= {"person-13", "person-14", "person-15"}


def test_a_merger_alone_erases_nobody(gallery: Gallery, backup: Path, tmp_path: Path):
    gallery.ledger.people.merge("person-10", into="person-11")
    assert restore(backup, tmp_path / "new", None, lists_of(gallery)).erased_again == 0


def test_a_second_restore_still_knows_the_first_ones_erased(gallery: Gallery, backup: Path, tmp_path: Path):
    """Also those whom the ledger restored first has never heard of."""
    enroll(gallery.ledger, 50)
    back_up(gallery.data_dir, tmp_path / "later.backup", None)
    gallery.ledger.people.erase("person-50")
    restore(backup, tmp_path / "new", None, lists_of(gallery))
    ledger = opened(tmp_path / "new")
    follow(ledger, tmp_path / "new")
    ledger.people.erase("person-7")
    follow(ledger, tmp_path / "new")
    ledger.close()
    done = restore(
        tmp_path / "later.backup", tmp_path / "third", None, [tmp_path / "new" / erasure_list.NAME]
    )
    assert done.erased_again == 2
    assert people(tmp_path / "third") & {"person-7", "person-50"} == set()
    # And the list that was in a backup counts as much as one beside it.
    back_up(tmp_path / "new", tmp_path / "of-new.backup", None)
    restore(tmp_path / "of-new.backup", tmp_path / "fourth", None, [])
    assert (
        restore(
            tmp_path / "later.backup", tmp_path / "fifth", None, [tmp_path / "fourth" / erasure_list.NAME]
        ).erased_again
        == 2
    )


def test_it_names_nobody_and_cannot_be_guessed(gallery: Gallery):
    gallery.ledger.people.erase("person-7")
    (path,) = lists_of(gallery)
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert not any(said in text for said in ("person", "Somebody", gallery.ledger.feed.gallery_id, "2026"))
    assert len(set(text.splitlines())) == len(text.splitlines()) == 5


def test_what_a_crash_kept_out_is_added_at_the_next_start(gallery: Gallery):
    gallery.ledger.people.erase("person-7")  # and the process ends before the list is written
    path = gallery.data_dir / erasure_list.NAME
    with path.open("ab") as file:
        file.write(b"29 0123")  # or in the middle of it
    follow(gallery.ledger, gallery.data_dir)
    assert path.read_text().endswith("\n")
    assert len(read(path, gallery.ledger.feed.gallery_id).persons) == 4


def test_a_ledger_that_was_put_back_by_hand_does_not_confuse_it(gallery: Gallery, tmp_path: Path):
    old = tmp_path / "old"
    old.mkdir()
    gallery.ledger.close()
    shutil.copy(gallery.data_dir / "ledger.db", old)
    ledger = opened(gallery.data_dir)
    for number in range(7, 17):
        ledger.people.erase(f"person-{number}")
    follow(ledger, gallery.data_dir)
    ledger.close()
    shutil.copy(gallery.data_dir / erasure_list.NAME, old)
    again = opened(old)  # its events have lower numbers than the list's
    follow(again, old)
    again.people.erase("person-1")
    follow(again, old)
    again.people.erase("person-0")
    follow(again, old)
    assert len(read(old / erasure_list.NAME, again.feed.gallery_id).persons) == 15
    again.close()


def test_a_list_that_was_taken_away_is_written_anew(gallery: Gallery, tmp_path: Path):
    ledger = gallery.ledger
    lists = ErasureLists([tmp_path / "list"], ledger.feed.gallery_id, ledger.erased)
    lists.follow()
    (tmp_path / "list").unlink()
    ledger.people.erase("person-7")
    lists.follow()
    assert len(read(tmp_path / "list", ledger.feed.gallery_id).persons) == 4


def test_another_gallerys_list_beside_the_backup_is_passed_over(
    gallery: Gallery, backup: Path, tmp_path: Path
):
    _of_another(tmp_path / erasure_list.NAME, "")
    assert restore(backup, tmp_path / "new", None, []).lists == 0
    (tmp_path / "other").mkdir()
    _of_another(tmp_path / "other" / erasure_list.NAME, "")
    with pytest.raises(BackupError):  # it would be overwritten
        restore(backup, tmp_path / "other", None, [])
    _none(tmp_path / erasure_list.NAME, "")
    with pytest.raises(BackupError):  # it may have been this gallery's
        restore(backup, tmp_path / "third", None, [])


def _of_another(path: Path, gallery: str) -> None:
    path.write_bytes(erasure_list.text("another-gallery", ["0" * 32]))


def _damaged(path: Path, gallery: str) -> None:
    path.write_bytes(erasure_list.text(gallery, ["0" * 31]))


def _none(path: Path, gallery: str) -> None:
    path.write_bytes(b"\xff\xd8\xff")


def _missing(path: Path, gallery: str) -> None:
    path.unlink(missing_ok=True)


@pytest.mark.parametrize("spoil", [_of_another, _damaged, _none, _missing])
def test_a_list_that_does_not_help_is_refused(
    gallery: Gallery, backup: Path, tmp_path: Path, spoil: Callable[[Path, str], None]
):
    """Who names one wants it to count."""
    path = tmp_path / "list"
    spoil(path, gallery.ledger.feed.gallery_id)
    before = there(tmp_path)
    with pytest.raises(BackupError) as refused:
        restore(backup, tmp_path / "new", None, [path])
    assert refused.value.code == "erasures_unusable"
    assert there(tmp_path) == before


def test_erasing_does_not_fail_for_the_list_and_the_trouble_is_told(gallery: Gallery, tmp_path: Path):
    (tmp_path / "lists").write_text("in the way of a directory")
    ledger = gallery.ledger
    lists = ErasureLists([tmp_path / "lists" / "a", tmp_path / "b"], ledger.feed.gallery_id, ledger.erased)
    ledger.people.erase("person-7")
    lists.follow()
    assert lists.problem is not None
    assert len(read(tmp_path / "b", ledger.feed.gallery_id).persons) == 4, "the other is written"
    (tmp_path / "lists").unlink()
    lists.follow()
    assert lists.problem is None
    assert (tmp_path / "lists" / "a").read_text() == (tmp_path / "b").read_text()


def test_a_service_has_everybody_in_it_when_the_erasure_returns(
    service: RobiService, photos: dict[str, bytes]
):
    path = service.settings.robi_data_dir / erasure_list.NAME
    gallery = service.ledger.feed.gallery_id
    assert read(path, gallery).persons == frozenset()
    service.enrollment.enroll("ana", "Ana", [("ana.png", photos["astronaut"])], via="api")
    (ana,) = service.ledger.erased.living()
    service.erasures.erase("ana")
    assert read(path, gallery).persons == {erasure_list.person_key(gallery, ana)}


_ERASES = """
import os, sys
from pathlib import Path
from core.backup.erasure_list import ErasureLists
from tests.unit.backup.conftest import opened
data_dir = Path(sys.argv[1])
ledger = opened(data_dir)
lists = ErasureLists([data_dir / "erasures.list"], ledger.feed.gallery_id, ledger.erased)
for number in range(6, 20):
    ledger.people.erase(f"person-{number}")
    lists.follow()
    os.write(1, b"%d\\n" % number)
"""


@pytest.mark.slow
@pytest.mark.parametrize("acknowledged", [1, 4, 9])
def test_a_kill_loses_no_acknowledged_one_even_if_the_ledger_is_lost_with_it(
    gallery: Gallery, backup: Path, tmp_path: Path, acknowledged: int
):
    gallery.ledger.close()
    child = subprocess.Popen(
        [sys.executable, "-c", _ERASES, gallery.data_dir],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        env=os.environ,
    )
    with child:
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(acknowledged)]
        child.kill()
        told += child.stdout.readlines()
    erased = {f"person-{int(line)}" for line in told if line.endswith(b"\n")}
    assert len(erased) >= acknowledged
    (gallery.data_dir / "ledger.db").unlink()
    restore(backup, tmp_path / "new", None, [gallery.data_dir / erasure_list.NAME])
    assert people(tmp_path / "new") & erased == set()
