from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from core.domain.errors import StartError
from core.domain.faces import PackInfo
from core.ledger.database import Database
from core.ledger.ledger import Ledger
from core.ledger.migrations import HEAD, alembic_config, migrate
from core.ledger.models import metadata
from core.ledger.sql import people

if TYPE_CHECKING:
    from tests.unit.ledger.conftest import MakeTemplates

_ROOT = Path(__file__).parents[3]


def test_the_migrations_build_exactly_the_models(path: Path) -> None:
    database = Database(path)
    with database.write() as connection:
        migrate(connection)
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
        built = dict(connection.exec_driver_sql("SELECT name, sql FROM sqlite_master").all())
        assert ScriptDirectory.from_config(alembic_config(connection)).get_current_head() == HEAD
    for table in ("people", "templates", "changes", "events"):
        assert "AUTOINCREMENT" in built[table]
    assert "ON DELETE CASCADE" in built["templates"]
    database.close()


def test_a_start_that_is_up_to_date_does_without_alembic(path: Path, pack: PackInfo) -> None:
    Ledger.open(path, pack).close()
    script = (
        "import sys; from pathlib import Path; from core.ledger.ledger import Ledger; "
        "from core.domain.faces import PackInfo; "
        f"Ledger.open(Path({str(path)!r}), PackInfo('open', {pack.digest!r}, 128, '')).close(); "
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=_ROOT).returncode == 0


def test_a_migration_that_fails_leaves_nothing_behind(
    path: Path, pack: PackInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic import op

    monkeypatch.setattr(op, "create_index", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Ledger.open(path, pack)
    monkeypatch.undo()
    database = Database(path)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0
    database.close()
    Ledger.open(path, pack).close()


def test_another_pack_is_refused_once_somebody_is_enrolled(
    path: Path, pack: PackInfo, make: MakeTemplates
) -> None:
    other = dataclasses.replace(pack, id="buffalo_l", digest="cd" * 32, dimension=512)
    Ledger.open(path, other).close()
    ledger = Ledger.open(path, pack)  # still empty: bound anew
    ledger.people.enroll("ana", "Ana", make())
    ledger.close()
    for changed in (other, dataclasses.replace(pack, digest="ef" * 32)):
        with pytest.raises(StartError) as refused:
            Ledger.open(path, changed)
        assert refused.value.code == "pack_mismatch"
        assert "FACE_PACK=open" in refused.value.hint
    ledger = Ledger.open(path, pack)
    ledger.people.erase("ana")
    ledger.close()
    Ledger.open(path, other).close()


def test_a_ledger_of_a_newer_version_is_refused(path: Path, pack: PackInfo) -> None:
    Ledger.open(path, pack).close()
    database = Database(path)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(StartError) as refused:
        Ledger.open(path, pack)
    assert refused.value.code == "ledger_too_new"


def test_a_file_that_is_no_ledger_is_refused_and_kept(path: Path, pack: PackInfo) -> None:
    path.write_bytes(b"somebody's notes " * 500)
    with pytest.raises(StartError) as refused:
        Ledger.open(path, pack)
    assert refused.value.code == "ledger_unavailable"
    assert path.read_bytes().startswith(b"somebody's notes")


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path, pack: PackInfo) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError) as refused:
        Ledger.open(tmp_path / "file" / "ledger.db", pack)
    assert refused.value.code == "ledger_unavailable"


def test_the_file_is_for_its_owner_only(path: Path, ledger: Ledger) -> None:
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file.name


def test_every_connection_is_durable_and_scrubbing(path: Path) -> None:
    database = Database(path)
    for connect in (database.write, database.read):
        with connect() as connection:
            pragmas = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
            }
        assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    database.close()


def test_a_gallery_has_an_id_of_its_own_that_stays_when_it_is_bound_to_another_pack(
    path: Path, pack: PackInfo, make: MakeTemplates
) -> None:
    ledger = Ledger.open(path, pack)
    first = ledger.feed.gallery_id
    assert str(UUID(first)) == first
    ledger.people.enroll("ana", "Ana", make())
    ledger.people.erase("ana")
    ledger.close()
    for another in (dataclasses.replace(pack, id="buffalo_l", digest="cd" * 32, dimension=512), pack):
        again = Ledger.open(path, another)
        assert again.feed.gallery_id == first
        again.close()
    other = Ledger.open(path.with_name("other.db"), pack)
    assert other.feed.gallery_id != first
    other.close()


def test_a_ledger_from_before_gallery_ids_is_given_one(
    path: Path, pack: PackInfo, make: MakeTemplates
) -> None:
    database = Database(path)
    with database.write() as connection:
        command.upgrade(alembic_config(connection), "0001")
        connection.exec_driver_sql(
            "INSERT INTO gallery (id, pack_id, digest, dimension) VALUES (1, ?, ?, ?)",
            (pack.id, pack.digest, pack.dimension),
        )
    database.close()
    ledger = Ledger.open(path, pack)
    given = ledger.feed.gallery_id
    ledger.people.enroll("ana", "Ana", make())
    ledger.close()
    again = Ledger.open(path, pack)
    assert again.feed.gallery_id == given == str(UUID(given))
    assert again.feed.counts().templates > 0
    again.close()


def test_names_that_another_version_has_folded_are_folded_again(
    path: Path, pack: PackInfo, make: MakeTemplates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "_BLOCK", 2)
    ledger = Ledger.open(path, pack)
    for number, name in enumerate(("Łukasz", "O’Brien", "Đặng Văn", "Ana", "ana")):
        ledger.people.enroll(f"p{number}", name, make())
    ledger.close()
    database = Database(path)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE people SET search_key = lower(name), skeleton = NULL")
        connection.exec_driver_sql("UPDATE gallery SET folding = NULL")
    database.close()
    again = Ledger.open(path, pack)
    for query in ("lukasz", "obrien", "van dang"):
        assert again.people.listing(query=query).total == 1
    assert again.people.sharing_names(["p0", "p3", "p4"]) == {"p3", "p4"}
    again.close()


def test_a_ledger_from_before_is_folded_when_it_is_opened(path: Path, pack: PackInfo) -> None:
    database = Database(path)
    with database.write() as connection:
        command.upgrade(alembic_config(connection), "0004")
        connection.exec_driver_sql(
            "INSERT INTO gallery (id, pack_id, digest, dimension, gallery_id) VALUES (1, ?, ?, ?, 'g')",
            (pack.id, pack.digest, pack.dimension),
        )
        connection.exec_driver_sql(
            "INSERT INTO people (user_id, name, search_key, metadata, created_at, updated_at, active_at)"
            " VALUES ('l', 'Łukasz', 'łukasz\nl', '{}', '2026-01-01', '2026-01-01', '2026-01-01')"
        )
    database.close()
    ledger = Ledger.open(path, pack)
    assert [person.name for person in ledger.people.listing(query="lukasz").items] == ["Łukasz"]
    ledger.close()
