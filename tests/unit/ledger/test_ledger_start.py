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
from sqlalchemy import Connection, inspect, text

from core.domain.errors import StartError
from core.domain.faces import PackInfo
from core.ledger.ledger import Ledger
from core.ledger.migrations import HEAD, alembic_config, migrate
from core.ledger.models import metadata
from core.ledger.opening import Place, open_database
from core.ledger.sql import people
from core.ledger.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from tests.unit.ledger.conftest import MakePlace, MakeTemplates

_ROOT = Path(__file__).parents[3]


@pytest.fixture
def place(make_place: MakePlace) -> Place:
    """Where nothing is yet, not even tables."""
    return make_place()


def test_the_migrations_build_exactly_the_models(place: Place) -> None:
    database = open_database(place)
    with database.write() as connection:
        migrate(connection)
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
        assert ScriptDirectory.from_config(alembic_config(connection)).get_current_head() == HEAD
        assert inspect(connection).get_foreign_keys("templates")[0]["options"] == {"ondelete": "CASCADE"}
        told = connection.dialect.name
    with database.read() as connection:
        (_numbers_go_up if told == "sqlite" else _wide_and_in_order)(connection)
    database.close()


def _numbers_go_up(connection: Connection) -> None:
    built = dict(connection.exec_driver_sql("SELECT name, sql FROM sqlite_master").all())
    for table in ("people", "templates", "changes", "events"):
        assert "AUTOINCREMENT" in built[table]


def _wide_and_in_order(connection: Connection) -> None:
    columns = connection.exec_driver_sql(
        "SELECT table_name, column_name, data_type, collation_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name != 'alembic_version'"
    ).all()
    assert {row.data_type for row in columns if "int" in row.data_type} == {"bigint"}
    assert {row.collation_name for row in columns if row.data_type == "character varying"} == {"C"}
    sequences = connection.exec_driver_sql("SELECT sequencename, data_type::text FROM pg_sequences").all()
    assert {name for name, kind in sequences if kind != "bigint"} == {"gallery_id_seq"}  # one row, ever


def test_a_start_that_is_up_to_date_does_without_alembic(place: Place, pack: PackInfo) -> None:
    Ledger.open(place, pack).close()
    where = f"Path({str(place)!r})" if isinstance(place, Path) else f"SecretStr({place.get_secret_value()!r})"
    script = (
        "import sys; from pathlib import Path; from core.ledger.ledger import Ledger; "
        "from core.domain.faces import PackInfo; from pydantic import SecretStr; "
        f"Ledger.open({where}, PackInfo('open', {pack.digest!r}, 128, '')).close(); "
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=_ROOT).returncode == 0


def test_a_migration_that_fails_leaves_nothing_behind(
    place: Place, pack: PackInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic import op

    monkeypatch.setattr(op, "create_index", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Ledger.open(place, pack)
    monkeypatch.undo()
    database = open_database(place)
    with database.read() as connection:
        assert inspect(connection).get_table_names() == []
    database.close()
    Ledger.open(place, pack).close()


def test_another_pack_is_refused_once_somebody_is_enrolled(
    place: Place, pack: PackInfo, make: MakeTemplates
) -> None:
    other = dataclasses.replace(pack, id="buffalo_l", digest="cd" * 32, dimension=512)
    Ledger.open(place, other).close()
    ledger = Ledger.open(place, pack)  # still empty: bound anew
    ledger.people.enroll("ana", "Ana", make())
    ledger.close()
    for changed in (other, dataclasses.replace(pack, digest="ef" * 32)):
        with pytest.raises(StartError) as refused:
            Ledger.open(place, changed)
        assert refused.value.code == "pack_mismatch"
        assert "FACE_PACK=open" in refused.value.hint
    ledger = Ledger.open(place, pack)
    ledger.people.erase("ana")
    ledger.close()
    Ledger.open(place, other).close()


def test_a_ledger_of_a_newer_version_is_refused(place: Place, pack: PackInfo) -> None:
    Ledger.open(place, pack).close()
    database = open_database(place)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(StartError) as refused:
        Ledger.open(place, pack)
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


def test_the_file_is_for_its_owner_only(path: Path, pack: PackInfo) -> None:
    Ledger.open(path, pack).close()
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file.name


def test_every_connection_is_durable_and_scrubbing(path: Path) -> None:
    database = SqliteDatabase(path)
    for connect in (database.write, database.read):
        with connect() as connection:
            pragmas = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
            }
        assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    database.close()


def test_a_gallery_has_an_id_of_its_own_that_stays_when_it_is_bound_to_another_pack(
    place: Place, make_place: MakePlace, pack: PackInfo, make: MakeTemplates
) -> None:
    ledger = Ledger.open(place, pack)
    first = ledger.feed.gallery_id
    assert str(UUID(first)) == first
    ledger.people.enroll("ana", "Ana", make())
    ledger.people.erase("ana")
    ledger.close()
    for another in (dataclasses.replace(pack, id="buffalo_l", digest="cd" * 32, dimension=512), pack):
        again = Ledger.open(place, another)
        assert again.feed.gallery_id == first
        again.close()
    other = Ledger.open(make_place(), pack)
    assert other.feed.gallery_id != first
    other.close()


def test_a_ledger_from_before_gallery_ids_is_given_one(
    place: Place, pack: PackInfo, make: MakeTemplates
) -> None:
    database = open_database(place)
    with database.write() as connection:
        command.upgrade(alembic_config(connection), "0001")
        connection.execute(
            text("INSERT INTO gallery (id, pack_id, digest, dimension) VALUES (1, :id, :digest, :dimension)"),
            {"id": pack.id, "digest": pack.digest, "dimension": pack.dimension},
        )
    database.close()
    ledger = Ledger.open(place, pack)
    given = ledger.feed.gallery_id
    ledger.people.enroll("ana", "Ana", make())
    ledger.close()
    again = Ledger.open(place, pack)
    assert again.feed.gallery_id == given == str(UUID(given))
    assert again.feed.counts().templates > 0
    again.close()


def test_names_that_another_version_has_folded_are_folded_again(
    place: Place, pack: PackInfo, make: MakeTemplates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "_BLOCK", 2)
    ledger = Ledger.open(place, pack)
    for number, name in enumerate(("Łukasz", "O’Brien", "Đặng Văn", "Ana", "ana")):
        ledger.people.enroll(f"p{number}", name, make())
    ledger.close()
    database = open_database(place)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE people SET search_key = lower(name), skeleton = NULL")
        connection.exec_driver_sql("UPDATE gallery SET folding = NULL")
    database.close()
    again = Ledger.open(place, pack)
    for query in ("lukasz", "obrien", "van dang"):
        assert again.people.listing(query=query).total == 1
    assert again.people.sharing_names(["p0", "p3", "p4"]) == {"p3", "p4"}
    again.close()


def test_a_ledger_from_before_is_folded_when_it_is_opened(place: Place, pack: PackInfo) -> None:
    database = open_database(place)
    with database.write() as connection:
        command.upgrade(alembic_config(connection), "0004")
        connection.execute(
            text(
                "INSERT INTO gallery (id, pack_id, digest, dimension, gallery_id)"
                " VALUES (1, :id, :digest, :dimension, 'g')"
            ),
            {"id": pack.id, "digest": pack.digest, "dimension": pack.dimension},
        )
        connection.exec_driver_sql(
            "INSERT INTO people (user_id, name, search_key, metadata, created_at, updated_at, active_at)"
            " VALUES ('l', 'Łukasz', 'łukasz\nl', '{}', '2026-01-01', '2026-01-01', '2026-01-01')"
        )
    database.close()
    ledger = Ledger.open(place, pack)
    assert [person.name for person in ledger.people.listing(query="lukasz").items] == ["Łukasz"]
    ledger.close()
