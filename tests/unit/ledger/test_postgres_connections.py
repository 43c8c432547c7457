"""Connections that end, hang or are too many, sessions' own settings, and values that cannot be stored."""

from __future__ import annotations

import random
import signal
import threading
import time
from contextlib import closing, suppress

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from core.domain.errors import BadInput, Unavailable
from core.domain.faces import PackInfo
from core.ledger import postgres as postgres_module
from core.ledger.ledger import Ledger
from core.ledger.postgres import PostgresDatabase
from core.ledger.postgres_session import Session
from tests.ledger_faults import connected, end_connections, hurry
from tests.postgres_server import PASSWORD, PostgresServer
from tests.unit.ledger.conftest import MakeTemplates


@pytest.fixture
def kind() -> str:
    """Everything here is of a server."""
    return "postgres"


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
