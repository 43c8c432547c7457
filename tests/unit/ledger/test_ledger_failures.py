from __future__ import annotations

import contextlib
import logging
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.domain.errors import NotFound, Unavailable
from core.domain.faces import PackInfo
from core.ledger.database import BUSY_TIMEOUT_MS
from core.ledger.ledger import Ledger
from core.ledger.opening import Place
from tests.ledger_faults import PLENTY, hurry, limit_pages, locked
from tests.unit.ledger.conftest import SQLITE

if TYPE_CHECKING:
    from tests.unit.ledger.conftest import MakeTemplates


@SQLITE
def test_a_full_disk_loses_nothing_and_heals(
    ledger: Ledger, make: MakeTemplates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ledger.people.enroll("ana", "Ana", make())
    limit_pages(ledger, 1)
    with pytest.raises(Unavailable) as refused:
        ledger.people.enroll("bea", "Beatrix Unmentionable", make(50))
    assert refused.value.code == "disk_full"
    assert ledger.people.find("bea") is None
    assert ledger.feed.head() == 1
    assert ledger.people.one("ana").templates == 1
    limit_pages(ledger, PLENTY)
    assert ledger.people.enroll("bea", "Bea", make(50)).seq == 51
    said = f"{refused.value} {refused.value.__cause__} {caplog.text}"
    assert "Unmentionable" not in said
    assert "x00" not in said


def test_what_was_refused_is_named_until_it_works_again(
    ledger: Ledger, make: MakeTemplates, place: Place
) -> None:
    with locked(ledger, place):
        assert ledger.write_problem() is None, "nobody has tried"
        with pytest.raises(Unavailable) as refused:
            ledger.people.enroll("ana", "Ana", make())
        problem = ledger.write_problem()
        assert problem is not None
        assert problem.code == refused.value.code
    assert ledger.database.refused is not None
    assert ledger.write_problem() is None
    assert ledger.database.refused is None


@SQLITE
def test_a_full_disk_does_not_keep_anybody_from_being_erased(
    ledger: Ledger, make: MakeTemplates, monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    ledger.people.enroll("ana", "Ana", make(400))
    reserve = path.with_name("ledger.db.reserve")
    assert reserve.stat().st_size > 0
    give_up = ledger.database.use_reserve

    def use_reserve() -> bool:
        given = give_up()
        limit_pages(ledger, PLENTY if given else 1)  # the room that was given up
        return given

    monkeypatch.setattr(ledger.database, "use_reserve", use_reserve)
    limit_pages(ledger, 1)
    assert len(ledger.people.erase("ana").template_ids) == 400
    assert ledger.people.find("ana") is None
    assert reserve.exists(), "there is room again for the next one"


@SQLITE
def test_without_a_reserve_an_erasure_on_a_full_disk_says_so(
    ledger: Ledger, make: MakeTemplates, path: Path
) -> None:
    ledger.people.enroll("ana", "Ana", make(400))
    path.with_name("ledger.db.reserve").unlink()
    limit_pages(ledger, 1)
    with pytest.raises(Unavailable) as refused:
        ledger.people.erase("ana")
    assert refused.value.code == "disk_full"
    assert ledger.people.one("ana").templates == 400


def patience(ledger: Ledger) -> int:
    """How long a writer waits for another process, in milliseconds."""
    with ledger.database.write() as connection:
        return connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()


@SQLITE
def test_a_log_that_cannot_be_emptied_leaves_the_patience_of_writers_as_it_was(ledger: Ledger) -> None:
    def refuse(action: int, *_: object) -> int:
        return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_PRAGMA and _[0] == "wal_checkpoint" else 0

    with ledger.database.write() as connection:
        driver = connection.connection.dbapi_connection
        driver.set_authorizer(refuse)
        ledger.database.scrub_soon()
    assert not ledger.database.scrubbed
    driver.set_authorizer(None)
    assert patience(ledger) == BUSY_TIMEOUT_MS


def test_a_ledger_locked_by_somebody_else_is_unavailable(
    ledger: Ledger, place: Place, make: MakeTemplates
) -> None:
    with locked(ledger, place):
        with pytest.raises(Unavailable) as refused:
            ledger.people.enroll("ana", "Ana", make())
        assert refused.value.code == "ledger_unavailable"
        assert "(SQLITE_BUSY)" in refused.value.message or "(SQLSTATE 55P03)" in refused.value.message
        assert ledger.feed.head() == 0  # reading goes on
    assert ledger.people.enroll("ana", "Ana", make()).seq == 1


def test_a_transaction_claims_the_database_before_it_reads(
    place: Place, pack: PackInfo, make: MakeTemplates
) -> None:
    """Otherwise two processes could decide on the same old state, and one would fail at its commit."""
    first = Ledger.open(place, pack)
    second = Ledger.open(place, pack)
    hurry(second)
    with first.database.write(), pytest.raises(Unavailable):
        second.people.enroll("ana", "Ana", make())
    assert second.people.enroll("ana", "Ana", make()).created
    first.close()
    second.close()


def test_a_failure_inside_a_transaction_undoes_all_of_it(
    ledger: Ledger, make: MakeTemplates, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.ledger.sql import events

    monkeypatch.setattr(events, "add", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ledger.people.enroll("ana", "Ana", make(3))
    monkeypatch.undo()
    assert ledger.feed.head() == 0
    assert ledger.people.find("ana") is None
    assert ledger.people.enroll("ana", "Ana", make()).created


def test_a_closed_ledger_says_so(place: Place, pack: PackInfo, make: MakeTemplates) -> None:
    ledger = Ledger.open(place, pack)
    ledger.close()
    ledger.close()
    for attempt in (ledger.feed.head, lambda: ledger.people.enroll("ana", "Ana", make())):
        with pytest.raises(Unavailable):
            attempt()


def fail_once(connection: sqlite3.Connection, sql: str, problem: BaseException) -> sqlite3.Connection:
    """The connection's next statement that begins so fails, before it takes effect."""

    class Cursor(sqlite3.Cursor):
        failed = False

        def execute(self, statement: str, parameters: object = (), /) -> Cursor:
            if statement.startswith(sql) and not Cursor.failed:
                Cursor.failed = True
                raise problem
            sqlite3.Cursor.execute(self, statement, parameters)  # type: ignore[arg-type]
            return self

    class Wrapped:
        """Everything of the connection, with cursors of that kind."""

        def cursor(self) -> sqlite3.Cursor:
            return connection.cursor(Cursor)

        def __getattr__(self, name: str) -> object:
            return getattr(connection, name)

    return Wrapped()  # type: ignore[return-value]


@SQLITE
@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("INSERT INTO changes", KeyboardInterrupt()),
        ("ROLLBACK", sqlite3.OperationalError("disk I/O error")),
        ("PRAGMA busy_timeout", sqlite3.OperationalError("disk I/O error")),
    ],
)
def test_whatever_fails_in_a_write_the_next_one_works(
    ledger: Ledger, make: MakeTemplates, statement: str, problem: BaseException
) -> None:
    ledger.people.enroll("ana", "Ana", make())
    with ledger.database.write() as connection:
        record = connection.connection
    record.dbapi_connection = fail_once(record.dbapi_connection, statement, problem)
    with contextlib.suppress(KeyboardInterrupt):
        ledger.people.enroll("bea", "Bea", make())
    with pytest.raises(NotFound):
        ledger.people.erase("nobody")  # rolls back
    if ledger.people.find("ana") is not None:
        ledger.people.erase("ana")  # empties the log once it is committed
    assert ledger.people.find("ana") is None
    assert ledger.people.enroll("cleo", "Cleo", make()).created
    assert (ledger.people.find("bea") is None) == isinstance(problem, KeyboardInterrupt)
    assert patience(ledger) == BUSY_TIMEOUT_MS
