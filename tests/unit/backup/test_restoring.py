"""What is no whole backup is refused, with its reason, and nothing is changed then; what is, is a gallery."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command

from core.backup.container import FRAME
from core.backup.making import back_up
from core.backup.restoring import RESTORING, restore, verify
from core.backup.sealing import Secret
from core.domain.errors import BadInput, RobiError
from core.domain.search import Strategy
from core.domain.templates import NewTemplate
from core.ledger.migrations import alembic_config
from core.ledger.sqlite import SqliteDatabase
from core.runtime import data_dir as directory
from tests.unit.backup.conftest import PACK, Found, Gallery, face, people, there


@pytest.fixture
def backup(gallery: Gallery, tmp_path: Path, secret: Secret | None) -> Path:
    """Of four frames."""
    large = NewTemplate(face(1), 0.9, "upload", bytes(3 * FRAME))
    gallery.ledger.people.add_templates("person-1", [large])
    back_up(gallery.data_dir, tmp_path / "robi.backup", secret)
    return tmp_path / "robi.backup"


def refusal(backup: Path, secret: Secret | None, tmp_path: Path) -> str:
    """The code by which both refuse it, and neither leaves a trace."""
    before, codes = there(tmp_path), set()
    for use in (lambda: verify(backup, secret), lambda: restore(backup, tmp_path / "new", secret, [])):
        with pytest.raises(RobiError) as refused:
            use()
        assert refused.value.message
        assert refused.value.hint
        codes.add(refused.value.code)
    assert there(tmp_path) == before
    (code,) = codes
    return code


def test_everybody_is_found_by_all_strategies(
    backup: Path, secret: Secret | None, tmp_path: Path, found: Found
):
    restore(backup, tmp_path / "new", secret, [])
    for number in range(20):
        expected = None if number in (3, 4, 5) else f"person-{number}"
        assert {found(tmp_path / "new", number, strategy) for strategy in Strategy} == {expected}


def test_one_that_is_cut_off_is_refused(backup: Path, secret: Secret | None, tmp_path: Path):
    whole = backup.read_bytes()
    for length in (0, 1, 7, 8, 11, 20, 100, 200, FRAME, FRAME + 200, 2 * FRAME, len(whole) - 1):
        backup.write_bytes(whole[:length])
        assert refusal(backup, secret, tmp_path) == "backup_truncated", length
    frames = _frames(whole)
    backup.write_bytes(whole[: frames[-1]])  # exactly between two frames
    assert refusal(backup, secret, tmp_path) == "backup_truncated"


def test_a_changed_byte_is_noticed_wherever_it_is(backup: Path, secret: Secret | None, tmp_path: Path):
    whole = backup.read_bytes()
    for place in (
        *range(14, 200, 13),
        5000,
        FRAME // 2,
        FRAME + 300,
        2 * FRAME,
        len(whole) - 20,
        len(whole) - 1,
    ):
        changed = bytearray(whole)
        changed[place] ^= 1
        backup.write_bytes(changed)
        assert refusal(backup, secret, tmp_path) in ("backup_damaged", "backup_truncated"), place
    backup.write_bytes(whole + b"\0")
    assert refusal(backup, secret, tmp_path) == "backup_damaged"


def test_frames_cannot_be_left_out_or_exchanged(backup: Path, secret: Secret | None, tmp_path: Path):
    whole = backup.read_bytes()
    first, second, third, *_ = _frames(whole)
    backup.write_bytes(whole[:first] + whole[second:])
    assert refusal(backup, secret, tmp_path) == "backup_damaged"
    backup.write_bytes(whole[:first] + whole[second:third] + whole[first:second] + whole[third:])
    assert refusal(backup, secret, tmp_path) == "backup_damaged"


def _frames(whole: bytes) -> list[int]:
    """Where each frame begins."""
    (said,) = struct.unpack_from(">I", whole, 10)
    places, place = [], 14 + said + 16
    while place < len(whole):
        places.append(place)
        (word,) = struct.unpack_from(">I", whole, place)
        place += 4 + (word & 0x7FFFFFFF)
    assert len(places) > 3
    return places


def test_a_foreign_file_is_refused(tmp_path: Path):
    foreign = tmp_path / "photo.jpg"
    foreign.write_bytes(b"\xff\xd8\xff\xe0 and so on" * 100)
    assert refusal(foreign, None, tmp_path) == "not_a_backup"
    with pytest.raises(BadInput):
        verify(tmp_path / "nowhere", None)


def test_another_format_is_refused(backup: Path, secret: Secret | None, tmp_path: Path):
    whole = bytearray(backup.read_bytes())
    struct.pack_into(">H", whole, 8, 2)
    backup.write_bytes(whole)
    assert refusal(backup, secret, tmp_path) == "backup_format"


def test_the_right_key_is_needed(gallery: Gallery, tmp_path: Path):
    back_up(gallery.data_dir, tmp_path / "robi.backup", Secret(b"correct horse battery"))
    assert refusal(tmp_path / "robi.backup", None, tmp_path) == "backup_key_needed"
    assert refusal(tmp_path / "robi.backup", Secret(b"incorrect horse"), tmp_path) == "backup_wrong_key"
    back_up(gallery.data_dir, tmp_path / "clear", None)
    assert not verify(tmp_path / "clear", Secret(b"a key that is not needed")).encrypted


def test_a_newer_ledger_is_refused(gallery: Gallery, tmp_path: Path):
    gallery.ledger.close()
    with closing(sqlite3.connect(gallery.data_dir / "ledger.db")) as newer, newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
    back_up(gallery.data_dir, tmp_path / "robi.backup", None)
    assert refusal(tmp_path / "robi.backup", None, tmp_path) == "ledger_too_new"


def test_one_of_the_first_version_is_migrated(tmp_path: Path):
    (tmp_path / "old").mkdir()
    database = SqliteDatabase(tmp_path / "old" / "ledger.db")
    with database.write() as connection:
        command.upgrade(alembic_config(connection), "0001")
        connection.exec_driver_sql(
            "INSERT INTO gallery (id, pack_id, digest, dimension) VALUES (1, ?, ?, ?)",
            (PACK.id, PACK.digest, PACK.dimension),
        )
        connection.exec_driver_sql(
            "INSERT INTO people (user_id, name, search_key, metadata, created_at, updated_at, active_at)"
            " VALUES ('l', 'Łukasz', 'łukasz\nl', '{}', '2026-01-01', '2026-01-01', '2026-01-01')"
        )
    database.close()
    manifest = back_up(tmp_path / "old", tmp_path / "robi.backup", None)
    assert (manifest.ledger.schema, manifest.ledger.gallery_id) == ("0001", None)
    assert verify(tmp_path / "robi.backup", None).manifest == manifest
    restore(tmp_path / "robi.backup", tmp_path / "new", None, [])
    assert people(tmp_path / "new") == {"l"}


def _a_gallery(place: Path) -> None:
    (place / "ledger.db").touch()


def _vectors_of_one(place: Path) -> None:
    (place / "qdrant").mkdir()


def _a_log_of_one(place: Path) -> None:
    (place / "ledger.db-wal").touch()


@pytest.mark.parametrize("fill", [_a_gallery, _vectors_of_one, _a_log_of_one])
def test_a_directory_with_a_gallery_is_refused(
    gallery: Gallery, tmp_path: Path, fill: Callable[[Path], None]
):
    back_up(gallery.data_dir, tmp_path / "robi.backup", None)
    place = tmp_path / "new"
    place.mkdir()
    fill(place)
    before = there(place)
    with pytest.raises(RobiError) as refused:
        restore(tmp_path / "robi.backup", place, None, [])
    assert refused.value.code == "gallery_exists"
    assert there(place) == before


def test_what_is_no_gallery_is_in_nobodys_way(gallery: Gallery, tmp_path: Path):
    back_up(gallery.data_dir, tmp_path / "robi.backup", None)
    place = tmp_path / "new"
    (place / "packs").mkdir(parents=True)
    (place / RESTORING).mkdir()  # of a restore that was killed
    (place / RESTORING / "ledger.db").write_bytes(b"half")
    restore(tmp_path / "robi.backup", place, None, [])
    assert there(place) == {"packs", "ledger.db", "erasures.list", directory.LOCK}
    assert len(people(place)) == 17


def test_a_directory_in_use_is_refused(gallery: Gallery, tmp_path: Path):
    back_up(gallery.data_dir, tmp_path / "robi.backup", None)
    with closing(directory.hold(tmp_path / "new")), pytest.raises(RobiError) as refused:
        restore(tmp_path / "robi.backup", tmp_path / "new", None, [])
    assert refused.value.code == "data_dir_locked"
    assert there(tmp_path / "new") == {directory.LOCK}
