"""Servers that refuse: each has its code, and no password is told."""

from __future__ import annotations

import logging
import time
from contextlib import closing

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from core.domain.errors import StartError, Unavailable
from core.domain.faces import PackInfo
from core.ledger import postgres as postgres_module
from core.ledger.ledger import Ledger
from tests.ledger_faults import connected
from tests.postgres_server import PASSWORD, PostgresServer
from tests.unit.ledger.conftest import MakePlace, MakeTemplates


@pytest.fixture
def kind() -> str:
    """Everything here is of a server."""
    return "postgres"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"password": "wrong-secret"}, "ledger_refused"),
        ({"user": "nobody-here"}, "ledger_refused"),
        ({"database": "no-such-database"}, "ledger_refused"),
    ],
    ids=["password", "user", "database"],
)
def test_a_refused_login_says_so_and_no_password(
    postgres: PostgresServer,
    pack: PackInfo,
    wrong: dict[str, str],
    code: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StartError) as refused:
        Ledger.open(postgres.url(**wrong), pack)
    assert refused.value.code == code
    assert refused.value.hint
    said = [caplog.text]
    problem: BaseException | None = refused.value
    while problem is not None:
        said.append(f"{problem} {problem!r}")
        problem = problem.__cause__ or problem.__context__
    assert not [text for text in said if "wrong-secret" in text or PASSWORD in text or "only%20for" in text]


def test_a_server_that_is_not_there_cannot_be_reached(postgres: PostgresServer, pack: PackInfo) -> None:
    url = make_url(postgres.url().get_secret_value()).set(port=1)
    with pytest.raises(StartError) as refused:
        Ledger.open(SecretStr(url.render_as_string(hide_password=False)), pack)
    assert refused.value.code == "ledger_unreachable"


def test_too_many_connections_of_the_account_are_named(
    postgres: PostgresServer, pack: PackInfo, place: SecretStr
) -> None:
    postgres.execute("DROP ROLE IF EXISTS crowded")
    postgres.execute("CREATE ROLE crowded LOGIN SUPERUSER PASSWORD 'x' CONNECTION LIMIT 0")
    name = make_url(place.get_secret_value()).database or ""
    postgres.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
    postgres.execute("ALTER ROLE crowded NOSUPERUSER")
    with pytest.raises(StartError) as refused:
        Ledger.open(postgres.url(name, user="crowded", password="x"), pack)
    assert refused.value.code == "ledger_crowded"


def test_who_owns_the_database_needs_no_more_rights(
    postgres: PostgresServer, pack: PackInfo, make: MakeTemplates
) -> None:
    postgres.execute("DROP DATABASE IF EXISTS owned")
    postgres.execute("DROP ROLE IF EXISTS plain")
    postgres.execute("CREATE ROLE plain LOGIN PASSWORD 'x'")
    postgres.execute("CREATE DATABASE owned OWNER plain TEMPLATE template0")
    with closing(Ledger.open(postgres.url("owned", user="plain", password="x"), pack)) as ledger:
        ids = ledger.people.enroll("ana", "Ana", make()).template_ids
        assert set(ledger.feed.resolve(ids)) == set(ids)
        ledger.people.erase("ana")


def test_an_account_without_rights_is_named(
    postgres: PostgresServer, pack: PackInfo, place: SecretStr
) -> None:
    postgres.execute("DROP ROLE IF EXISTS weak")
    postgres.execute("CREATE ROLE weak LOGIN PASSWORD 'x'")
    name = make_url(place.get_secret_value()).database or ""
    with pytest.raises(StartError) as refused:
        Ledger.open(postgres.url(name, user="weak", password="x"), pack)
    assert refused.value.code == "ledger_refused"


def test_a_server_that_only_reads_refuses_to_save_and_goes_on_answering(
    postgres: PostgresServer, ledger: Ledger, pack: PackInfo, place: SecretStr, make: MakeTemplates
) -> None:
    ids = ledger.people.enroll("ana", "Ana", make()).template_ids
    name = make_url(place.get_secret_value()).database
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with closing(Ledger.open(place, pack)) as standby:
        with pytest.raises(Unavailable) as refused:
            standby.people.erase("ana")
        assert refused.value.code == "ledger_read_only"
        assert set(standby.feed.resolve(ids)) == set(ids)
        problem = standby.write_problem()
        assert problem is not None
        assert problem.code == "ledger_read_only"


def test_a_standby_answers_and_once_it_is_the_primary_it_saves(
    own_server: PostgresServer, pack: PackInfo, make: MakeTemplates
) -> None:
    place = own_server.database()
    with closing(Ledger.open(place, pack)) as ledger:
        ids = ledger.people.enroll("ana", "Ana", make()).template_ids
    standby = PostgresServer(own_server.programs, standby_of=own_server)
    try:
        name = make_url(place.get_secret_value()).database or ""
        with closing(Ledger.open(standby.url(name), pack)) as there:
            assert set(there.feed.resolve(ids)) == set(ids)
            assert there.feed.hot_set(10).count == 1
            with pytest.raises(Unavailable) as refused:
                there.people.erase("ana")
            assert refused.value.code == "ledger_read_only"
        hosts = f"host=127.0.0.1:{own_server.port}&host=127.0.0.1:{standby.port}"
        user = standby.url().get_secret_value().partition("@")[0]
        both = SecretStr(f"{user}@/{name}?{hosts}&target_session_attrs=read-write")
        with closing(Ledger.open(both, pack)) as ledger:
            bea = ledger.people.enroll("bea", "Bea", make())
            with closing(standby.connect(name)) as follower:
                while follower.execute("SELECT max(seq) FROM changes").fetchone() != (bea.seq,):
                    time.sleep(0.02)
            own_server.stop()
            with pytest.raises(Unavailable):
                ledger.people.enroll("cleo", "Cleo", make())
            standby.promote()
            assert ledger.people.enroll("cleo", "Cleo", make()).seq > bea.seq
            assert set(ledger.feed.resolve(bea.template_ids)) == set(bea.template_ids)
            ledger.people.erase("bea")
            assert ledger.feed.resolve(bea.template_ids) == {}
    finally:
        standby.remove()


def test_a_full_disk_of_the_server_is_named_and_loses_nothing(
    ledger: Ledger, place: SecretStr, make: MakeTemplates
) -> None:
    """The error of a full disk, raised by the server where it would be: on growing a table."""
    with closing(connected(place)) as admin:
        admin.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$"
        )
        admin.execute(
            "CREATE TRIGGER full_disk BEFORE INSERT ON changes FOR EACH ROW EXECUTE FUNCTION full_disk()"
        )
        with pytest.raises(Unavailable) as refused:
            ledger.people.enroll("ana", "Ana", make())
        assert refused.value.code == "disk_full"
        assert ledger.people.find("ana") is None
        admin.execute("DROP TRIGGER full_disk ON changes")
    assert ledger.people.enroll("ana", "Ana", make()).created


def test_an_old_server_is_refused(place: SecretStr, pack: PackInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_module, "OLDEST", 99)
    with pytest.raises(StartError) as refused:
        Ledger.open(place, pack)
    assert (refused.value.code, refused.value.hint) == ("ledger_unfit", "Use PostgreSQL 99 or newer.")


def test_a_database_that_cannot_hold_every_name_is_refused(postgres: PostgresServer, pack: PackInfo) -> None:
    postgres.execute("DROP DATABASE IF EXISTS latin")
    postgres.execute(
        "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C'"
    )
    with pytest.raises(StartError) as refused:
        Ledger.open(postgres.url("latin"), pack)
    assert refused.value.code == "ledger_unfit"


@pytest.mark.parametrize(
    "table",
    ["CREATE TABLE people (name text)", "CREATE TABLE alembic_version AS SELECT 'ae1027' AS version_num"],
)
def test_another_programs_database_is_refused_and_left_alone(
    make_place: MakePlace, pack: PackInfo, table: str
) -> None:
    place = make_place()
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    with closing(connected(place)) as admin:
        admin.execute(table)
        with pytest.raises(StartError) as refused:
            Ledger.open(place, pack)
        assert refused.value.code == "ledger_foreign"
        assert admin.execute(tables).fetchone() == (1,)
