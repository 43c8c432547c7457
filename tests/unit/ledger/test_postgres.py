"""What only a server has: commits that could overtake each other, connections that end, logins, standbys."""

from __future__ import annotations

import logging
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from core.domain.errors import BadInput, StartError, Unavailable
from core.domain.events import NewEvent
from core.domain.faces import PackInfo
from core.ledger import postgres as postgres_module
from core.ledger.ledger import Ledger
from core.ledger.postgres import PostgresDatabase
from core.ledger.postgres_session import Session
from core.ledger.sql import events
from tests.ledger_faults import connected, hurry
from tests.postgres_server import PASSWORD, PostgresServer, required
from tests.unit.ledger.conftest import MakePlace, MakeTemplates


@pytest.fixture
def kind() -> str:
    """Everything here is of a server."""
    return "postgres"


@pytest.fixture
def other(ledger: Ledger, place: SecretStr, pack: PackInfo) -> Iterator[Ledger]:
    """Another Robi on the same database."""
    second = Ledger.open(place, pack)
    yield second
    second.close()


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """One that may be stopped."""
    server = PostgresServer(required())
    yield server
    server.remove()


# ------------------------------------------------------------ the order of commits


def test_nobody_takes_a_number_while_another_ones_is_not_committed(
    ledger: Ledger, other: Ledger, make: MakeTemplates
) -> None:
    """Two connections, interleaved: the first has its seq and has not committed when the second comes.

    By sequences alone the second would have committed seq 2 by now, a follower would have taken 2 for its
    place, and seq 1 would never have been seen.
    """
    began, may_end = threading.Event(), threading.Event()
    taken: list[tuple[str, int]] = []
    add = events.add

    def slow(connection: object, new: list[NewEvent]) -> None:  # after the seq was given, before the commit
        add(connection, new)  # type: ignore[arg-type]
        if new[0].user_id == "slow":
            began.set()
            may_end.wait(10)

    def enroll(who: Ledger, user_id: str) -> None:
        taken.append((user_id, who.people.enroll(user_id, "P", make()).seq))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "add", slow)
        first = threading.Thread(target=enroll, args=(ledger, "slow"))
        first.start()
        assert began.wait(10)
        second = threading.Thread(target=enroll, args=(other, "quick"))
        second.start()
        time.sleep(0.3)
        assert other.feed.head() == 0, "a seq was committed while a smaller one was not"
        may_end.set()
        first.join()
        second.join()
    assert taken == [("slow", 1), ("quick", 2)]
    assert [change.seq for change in ledger.feed.changes(0, 10)] == [1, 2]


def test_sequences_alone_would_lose_a_change(ledger: Ledger, place: SecretStr) -> None:
    """What the lock is for: without it a smaller number appears after a larger one."""
    row = "INSERT INTO changes (kind, template_id, person_id, at) VALUES ('put', 1, 1, now())"
    with closing(connected(place)) as one, closing(connected(place)) as two:
        one.execute("BEGIN")
        one.execute(row)
        two.execute(row)
        followed = [change.seq for change in ledger.feed.changes(0, 10)]
        one.execute("COMMIT")
    assert followed == [2]
    assert [change.seq for change in ledger.feed.changes(2, 10)] == []  # 1 is there now, and passed over


# ------------------------------------------------------------ waking and remembering


def test_whoever_follows_is_woken_by_another_ones_commit(
    ledger: Ledger, other: Ledger, make: MakeTemplates
) -> None:
    woken = threading.Event()
    ledger.feed.when_others_commit(woken.set)
    assert woken.wait(5), "it is told when it begins to listen"
    for number in range(3):
        woken.clear()
        other.people.enroll(f"p{number}", "P", make())
        began = time.monotonic()
        assert woken.wait(5)
        assert time.monotonic() - began < 0.5


def test_it_listens_again_after_the_connection_was_lost(
    ledger: Ledger, other: Ledger, make: MakeTemplates, place: SecretStr
) -> None:
    woken = threading.Event()
    ledger.feed.when_others_commit(woken.set)
    assert woken.wait(5)
    woken.clear()
    end_connections(place)
    assert woken.wait(5), "it is told once more, for what it missed"
    woken.clear()
    other.people.enroll("ana", "Ana", make())
    assert woken.wait(5)


@pytest.mark.parametrize("how", ["erased", "renamed"])
def test_what_was_remembered_is_not_answered_from_the_moment_another_one_returned(
    ledger: Ledger, other: Ledger, make: MakeTemplates, how: str
) -> None:
    for number in range(50):
        ids = ledger.people.enroll(f"p{number}", "P", make(2)).template_ids
        assert set(ledger.feed.resolve(ids)) == set(ids)
        if how == "erased":
            other.people.erase(f"p{number}")
            assert ledger.feed.resolve(ids) == {}
        else:
            other.people.update(f"p{number}", name="Q")
            assert {one.name for one in ledger.feed.resolve(ids).values()} == {"Q"}


def test_nothing_is_remembered_over_a_restart_of_the_server(
    own_server: PostgresServer, pack: PackInfo, make: MakeTemplates
) -> None:
    place = own_server.database()
    with closing(Ledger.open(place, pack)) as ledger:
        ids = ledger.people.enroll("ana", "Ana", make()).template_ids
        assert ledger.feed.resolve(ids)
        own_server.stop()
        with pytest.raises(Unavailable) as refused:
            ledger.feed.resolve(ids)
        assert refused.value.code == "ledger_unreachable"
        own_server.start()
        with closing(connected(place)) as elsewhere:  # as on a standby that took over
            elsewhere.execute("DELETE FROM templates")
        assert ledger.feed.resolve(ids) == {}


# ------------------------------------------------------------ connections that end


def end_connections(place: SecretStr) -> None:
    with closing(connected(place)) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid != pg_backend_pid()"
        )
        while admin.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()"
            " AND backend_type = 'client backend' AND application_name = 'robi' AND query NOT LIKE 'LISTEN%%'"
        ).fetchone():
            time.sleep(0.01)


def test_idle_connections_that_the_server_has_ended_are_replaced_unnoticed(
    ledger: Ledger, place: SecretStr, make: MakeTemplates
) -> None:
    for number in range(3):
        ids = ledger.people.enroll(f"p{number}", "P", make()).template_ids
        assert set(ledger.feed.resolve(ids)) == set(ids)
        end_connections(place)
        assert set(ledger.feed.resolve(ids)) == set(ids)
        end_connections(place)
        assert ledger.feed.counts().people == number + 1


def test_a_connection_that_ends_in_a_transaction_undoes_it(
    ledger: Ledger, place: SecretStr, make: MakeTemplates
) -> None:
    with pytest.raises(Unavailable) as refused, ledger.database.write() as connection:  # noqa: PT012
        connection.exec_driver_sql("UPDATE gallery SET folding = 'none'")
        end_connections(place)
    assert refused.value.code == "ledger_unreachable"
    assert "not known" in refused.value.message, "the answer to the commit is missing"
    assert ledger.write_problem() is None
    with ledger.database.read() as connection:
        assert connection.exec_driver_sql("SELECT folding FROM gallery").scalar_one() != "none"
    assert ledger.people.enroll("ana", "Ana", make()).created


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_server_that_goes_and_comes_is_named_and_healed(
    own_server: PostgresServer, pack: PackInfo, make: MakeTemplates, how: signal.Signals
) -> None:
    with closing(Ledger.open(own_server.database(), pack)) as ledger:
        ledger.people.enroll("ana", "Ana", make())
        own_server.stop(how)
        for attempt in (ledger.feed.head, lambda: ledger.people.enroll("bea", "Bea", make())):
            with pytest.raises(Unavailable) as refused:
                attempt()
            assert refused.value.code == "ledger_unreachable"
            assert PASSWORD not in str(refused.value)
        assert ledger.write_problem() is not None
        own_server.start()
        assert ledger.write_problem() is None
        assert ledger.people.one("ana").templates == 1
        assert ledger.people.enroll("bea", "Bea", make()).created


def test_what_was_acknowledged_survives_a_crash_of_the_server(
    own_server: PostgresServer, pack: PackInfo, make: MakeTemplates
) -> None:
    acknowledged: list[str] = []
    erased: list[str] = []
    given = make(1)
    with closing(Ledger.open(own_server.database(), pack)) as ledger:

        def enroll() -> None:
            with suppress(Unavailable):
                for number in range(100_000):
                    ledger.people.enroll(f"p{number}", "P", given)
                    acknowledged.append(f"p{number}")
                    if number % 3 == 2:
                        ledger.people.erase(f"p{number - 1}")
                        erased.append(f"p{number - 1}")

        for _ in range(3):
            ended = len(acknowledged) + 30
            writer = threading.Thread(target=enroll)
            writer.start()
            while len(acknowledged) < ended and writer.is_alive():
                time.sleep(0.005)
            own_server.stop(signal.SIGQUIT)
            writer.join()
            own_server.start()
            unanswered = {f"p{len(acknowledged) - 2}"}  # its erasure may have been committed
            for user_id in set(acknowledged) - set(erased) - unanswered:
                assert ledger.people.one(user_id).templates == 1
            for user_id in erased:
                assert ledger.people.find(user_id) is None
            seqs = [change.seq for change in ledger.feed.changes(0, 1_000_000)]
            assert seqs == sorted(set(seqs))
            for user_id in [person.user_id for person in ledger.people.listing(limit=500).items]:
                ledger.people.erase(user_id)
            acknowledged.clear()
            erased.clear()


def test_a_commit_after_a_failed_statement_is_no_commit(ledger: Ledger) -> None:
    """PostgreSQL answers it with a ROLLBACK, and without an error."""
    with (
        pytest.raises(Unavailable),
        ledger.database.write() as connection,
        pytest.raises(Exception, match="nowhere"),
    ):
        connection.exec_driver_sql("SELECT * FROM nowhere")
    assert ledger.write_problem() is None


def test_no_more_connections_than_are_allowed_are_made(place: SecretStr) -> None:
    with closing(PostgresDatabase(place.get_secret_value(), connections=2, wait_s=0.1)) as database:
        with database.read(), database.read():
            with pytest.raises(Unavailable) as refused, database.read():
                pytest.fail("that was one too many")
            assert refused.value.code == "ledger_crowded"
        with database.read() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar() == 1


def test_a_server_that_hangs_keeps_nobody_waiting_for_good(
    own_server: PostgresServer, pack: PackInfo, make: MakeTemplates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its machine still answers for it, so that nothing but a clock tells."""
    with closing(Ledger.open(own_server.database(), pack)) as ledger:
        ids = ledger.people.enroll("ana", "Ana", make()).template_ids
        ledger.feed.resolve(ids)
        monkeypatch.setattr(Session, "patience_s", 0.5)
        monkeypatch.setattr(postgres_module, "PATIENCE_S", 0.5)
        for _ in range(2):  # what is lent from now on is impatient
            ledger.people.enroll("bea", "Bea", make())
            ledger.people.erase("bea")
            ledger.feed.head()
        ledger.feed.close()
        with own_server.hung():
            for attempt in (ledger.feed.head, lambda: ledger.people.enroll("cleo", "Cleo", make())):
                began = time.monotonic()
                with pytest.raises(Unavailable) as refused:
                    attempt()
                assert refused.value.code == "ledger_unreachable"
                assert time.monotonic() - began < 15
        assert ledger.people.enroll("cleo", "Cleo", make()).created


# ------------------------------------------------------------ servers that refuse


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


# ------------------------------------------------------------ values, sessions


@pytest.mark.parametrize("value", ["nul\0inside", "half \ud800 of one"])
def test_what_cannot_be_stored_is_bad_input(ledger: Ledger, make: MakeTemplates, value: str) -> None:
    for attempt in (
        lambda: ledger.people.enroll("ana", value, make()),
        lambda: ledger.people.find(value),
        lambda: ledger.events.listing(user_id=value),
    ):
        with pytest.raises(BadInput):
            attempt()
    assert ledger.feed.head() == 0
    assert ledger.people.enroll("ana", "Ana", make()).created


def test_a_name_that_is_too_long_to_be_looked_up_is_bad_input(ledger: Ledger, make: MakeTemplates) -> None:
    """An index holds texts of up to 2,704 bytes, of what compressing leaves of them."""
    dice = random.Random(5)
    with pytest.raises(BadInput):
        ledger.people.enroll("ana", "".join(chr(dice.randrange(0x4E00, 0x9FA5)) for _ in range(3000)), make())
    assert ledger.people.enroll("ana", "\ufdfa" * 200, make()).created  # each is eighteen letters


def test_every_session_is_durable_and_patient_within_bounds(place: SecretStr) -> None:
    name = make_url(place.get_secret_value()).database
    with closing(connected(place)) as admin:
        admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with closing(PostgresDatabase(place.get_secret_value())) as database:
        for connect in (database.write, database.read, database.snapshot):
            with connect() as connection:
                told = {
                    setting: connection.exec_driver_sql(f"SHOW {setting}").scalar()
                    for setting in ("synchronous_commit", "lock_timeout", "statement_timeout")
                }
            assert told == {"synchronous_commit": "on", "lock_timeout": "5s", "statement_timeout": "1min"}


def test_a_writer_that_waits_too_long_says_so_and_leaves_no_lock(
    ledger: Ledger, other: Ledger, make: MakeTemplates
) -> None:
    hurry(other)
    with ledger.database.write(), pytest.raises(Unavailable):
        other.people.enroll("ana", "Ana", make())
    assert ledger.people.enroll("bea", "Bea", make()).created
    assert other.people.enroll("ana", "Ana", make()).created
