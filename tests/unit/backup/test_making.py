"""A backup appears as a whole or not at all, is consistent while others write, and private."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.backup import erasure_list
from core.backup.making import back_up
from core.backup.restoring import restore, verify
from core.backup.sealing import Secret
from core.domain.errors import BackupError, BadInput, Conflict, StartError, Unavailable
from core.domain.templates import NewTemplate
from tests.unit.backup.conftest import Gallery, enroll, face, rows, there


def test_it_holds_all_of_the_ledger_and_the_list(gallery: Gallery, tmp_path: Path, secret: Secret | None):
    backup = tmp_path / "robi.backup"
    manifest = back_up(gallery.data_dir, backup, secret)
    assert (manifest.ledger.people, manifest.ledger.templates) == (17, 17)
    assert manifest.ledger.seq == gallery.ledger.feed.head() == 23
    assert manifest.ledger.gallery_id == gallery.ledger.feed.gallery_id
    assert verify(backup, secret).manifest == manifest
    before = rows(gallery.data_dir)
    restore(backup, tmp_path / "new", secret, [])
    assert rows(tmp_path / "new") == before
    listed = erasure_list.read(tmp_path / "new" / erasure_list.NAME, gallery.ledger.feed.gallery_id)
    assert len(listed.persons) == 3


def test_it_is_private_and_leaves_nothing_beside_it(gallery: Gallery, tmp_path: Path, secret: Secret | None):
    before = there(gallery.data_dir)
    backup = tmp_path / "backups" / "robi.backup"
    backup.parent.mkdir()
    back_up(gallery.data_dir, backup, secret)
    assert backup.stat().st_mode & 0o777 == 0o600
    assert there(backup.parent) == {"robi.backup"}
    assert there(gallery.data_dir) == before


def test_encrypted_it_shows_nobody(gallery: Gallery, tmp_path: Path):
    clear, encrypted = tmp_path / "clear", tmp_path / "encrypted"
    back_up(gallery.data_dir, clear, None)
    back_up(gallery.data_dir, encrypted, Secret(b"correct horse battery"))
    telling = (b"Somebody", b"person-", b"thumbnail of", b"open", face(0).tobytes())
    assert [said in clear.read_bytes() for said in telling] == [True] * len(telling)
    assert [said in encrypted.read_bytes() for said in telling] == [False] * len(telling)
    assert encrypted.read_bytes() != _again(gallery, tmp_path), "one key, yet every backup its own salt"


def _again(gallery: Gallery, tmp_path: Path) -> bytes:
    back_up(gallery.data_dir, tmp_path / "again", Secret(b"correct horse battery"))
    return (tmp_path / "again").read_bytes()


def test_a_file_is_overwritten_only_when_that_is_said(gallery: Gallery, tmp_path: Path):
    backup = tmp_path / "robi.backup"
    backup.write_bytes(b"mine")
    with pytest.raises(BackupError) as refused:
        back_up(gallery.data_dir, backup, None)
    assert refused.value.code == "backup_exists"
    assert backup.read_bytes() == b"mine"
    back_up(gallery.data_dir, backup, None, force=True)
    assert verify(backup, None).manifest.ledger.people == 17


def test_what_cannot_be_backed_up_or_written_is_refused(gallery: Gallery, tmp_path: Path):
    with pytest.raises(StartError) as nothing:
        back_up(tmp_path / "nowhere", tmp_path / "robi.backup", None)
    assert nothing.value.code == "data_dir_unusable"
    with pytest.raises(BadInput) as nowhere:
        back_up(gallery.data_dir, tmp_path / "no" / "robi.backup", None)
    assert "No such file" in nowhere.value.message
    with pytest.raises(BadInput):
        Secret(b"short")
    assert there(tmp_path) == {"data", *(f"data/{name}" for name in there(gallery.data_dir))}


def test_two_do_not_write_one_file(gallery: Gallery, tmp_path: Path):
    with (tmp_path / "robi.backup.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BackupError) as refused:
            back_up(gallery.data_dir, tmp_path / "robi.backup", None)
    assert refused.value.code == "backup_running"
    back_up(gallery.data_dir, tmp_path / "robi.backup", None)
    assert not (tmp_path / "robi.backup.part").exists()


def test_a_cancelled_one_leaves_nothing(gallery: Gallery, tmp_path: Path):
    with pytest.raises(Conflict):
        back_up(gallery.data_dir, tmp_path / "robi.backup", None, cancelled=lambda: True)
    assert not list(tmp_path.glob("robi*"))


def test_a_damaged_ledger_is_not_backed_up(gallery: Gallery, tmp_path: Path):
    gallery.ledger.close()
    with (gallery.data_dir / "ledger.db").open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xa5" * 3 * 4096)
    with pytest.raises(Unavailable) as refused:
        back_up(gallery.data_dir, tmp_path / "robi.backup", None)
    assert refused.value.code == "ledger_unavailable"
    assert not list(tmp_path.glob("robi*"))


def test_nobody_waits_and_what_is_not_committed_is_not_in_it(gallery: Gallery, tmp_path: Path):
    with gallery.ledger.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM people")
        assert back_up(gallery.data_dir, tmp_path / "robi.backup", None).ledger.people == 17


@pytest.mark.slow
def test_memory_stays_bounded(gallery: Gallery, tmp_path: Path, secret: Secret | None):
    large = [NewTemplate(face(1), 0.9, "upload", os.urandom(1 << 20))] * 20
    for _ in range(3):
        gallery.ledger.people.add_templates("person-1", large)
    backup = tmp_path / "robi.backup"
    tracemalloc.start()
    back_up(gallery.data_dir, backup, secret)
    verify(backup, secret)
    restore(backup, tmp_path / "new", secret, [])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert backup.stat().st_size > 60 << 20
    assert peak < 12 << 20


_KILLED = """
import sys
from pathlib import Path
from core.backup.making import back_up
def wait():
    print("here", flush=True)
    sys.stdin.read()
back_up(Path(sys.argv[1]), Path(sys.argv[2]), None, cancelled=wait)
"""


@pytest.mark.slow
def test_killed_in_the_middle_nothing_of_it_counts(gallery: Gallery, tmp_path: Path):
    before, backup = there(gallery.data_dir), tmp_path / "robi.backup"
    child = subprocess.Popen(
        [sys.executable, "-c", _KILLED, gallery.data_dir, backup],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        child.send_signal(signal.SIGKILL)
    assert not backup.exists()
    assert there(gallery.data_dir) == before, "no copy of the ledger stays behind"
    back_up(gallery.data_dir, backup, None)
    assert not (tmp_path / "robi.backup.part").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(place)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here: that takes root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_leaves_nothing_half(gallery: Gallery, small_disk: Path, tmp_path: Path):
    gallery.ledger.people.add_templates("person-1", [NewTemplate(face(1), 0.9, "upload", bytes(5 << 20))])
    before = rows(gallery.data_dir)
    with pytest.raises(Unavailable) as refused:
        back_up(gallery.data_dir, small_disk / "robi.backup", None)
    assert refused.value.code == "disk_full"
    assert there(small_disk) == set()
    back_up(gallery.data_dir, tmp_path / "robi.backup", None)
    with pytest.raises(Unavailable) as no_room:
        restore(tmp_path / "robi.backup", small_disk / "data", None, [])
    assert no_room.value.code == "disk_full"
    assert there(small_disk) == set()
    assert rows(gallery.data_dir) == before


def test_enrolling_goes_on_meanwhile(gallery: Gallery, tmp_path: Path):
    done = threading.Event()

    def write() -> None:
        number = 1000
        while not done.is_set():
            enroll(gallery.ledger, number)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seqs = []
        for number in range(5):
            before = gallery.ledger.feed.head()
            while gallery.ledger.feed.head() == before:
                time.sleep(0.001)
            seqs.append(back_up(gallery.data_dir, tmp_path / f"{number}", None).ledger.seq)
    finally:
        done.set()
        writer.join()
    assert seqs == sorted(set(seqs))
    for number, seq in enumerate(seqs):
        assert verify(tmp_path / f"{number}", None).manifest.ledger.seq == seq
