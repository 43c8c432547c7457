"""The SQLite file: its connections, its transactions, and what its failures mean."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import cast

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from core.domain.errors import RobiError, Unavailable
from core.ledger.database import BUSY_TIMEOUT_MS, Database, cannot_hold, read_json, shutting_down
from core.runtime import disk

logger = logging.getLogger(__name__)

_SCRUB_TIMEOUT_MS = 100
_RESERVE_BYTES = 1 << 20  # kept free for erasing on a full disk: some hundred templates at a time
_MOST_IDLE = 16  # reading connections kept open for the next reader

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",  # a commit has reached the disk before it is acknowledged
    "foreign_keys=ON",
    "secure_delete=ON",  # erased content is overwritten with zeros
    f"busy_timeout={BUSY_TIMEOUT_MS}",
)


class SqliteDatabase(Database):
    """One writing connection behind a lock, and as many reading ones as there are readers at a time.

    Every transaction that writes is BEGIN IMMEDIATE, so the order of the change feed is the order of commits,
    also when a second process writes to the same file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        for file in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
            if file.exists():
                disk.keep_private(file)  # also one that an earlier version, or a copy, left open to others
        self._reserve = path.with_name(f"{path.name}.reserve")
        self._engine = _engine(path)
        self._lock = Lock()
        self._idle: deque[Connection] = deque()
        self._closed = False
        self._scrub_due = False
        with translated():
            self._writer = self._engine.connect()
        self.set_aside_room()

    def set_aside_room(self) -> None:
        if self._reserve.exists():
            return
        try:
            descriptor = os.open(
                self._reserve, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600
            )  # through no link
            with os.fdopen(descriptor, "wb") as file:
                file.write(bytes(_RESERVE_BYTES))
        except OSError:
            self._reserve.unlink(missing_ok=True)

    def use_reserve(self) -> bool:
        used = self._reserve.exists()
        self._reserve.unlink(missing_ok=True)
        return used

    @contextmanager
    def write(self, *, long: bool = False) -> Iterator[Connection]:  # noqa: ARG002  nothing is hurried here
        with self._lock, self._remembered(), translated():
            self._refuse_when_closed()
            if self._writer.closed:
                self._writer = self._engine.connect()
            try:
                self._writer.exec_driver_sql("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.exec_driver_sql("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            if self._scrub_due:
                self._scrub()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with translated():
            connection = self._borrow()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._give_back(connection)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        with self.read() as connection:
            connection.exec_driver_sql("BEGIN")
            yield connection
            connection.exec_driver_sql("COMMIT")

    def connect(self) -> Connection:
        self._refuse_when_closed()
        return self._engine.connect()

    def version(self, connection: Connection) -> Hashable:
        """SQLite tells a connection of commits by any other one, in this process or not, in a few
        microseconds: `PRAGMA data_version` (https://www.sqlite.org/pragma.html#pragma_data_version).
        """
        driver = cast("sqlite3.Connection", connection.connection.dbapi_connection)
        with translated():
            return int(driver.execute("PRAGMA data_version").fetchone()[0])

    def when_others_commit(self, tell: Callable[[], None]) -> None:
        """SQLite tells nobody."""

    def scrub_soon(self) -> None:
        """Once committed, old content leaves the write-ahead log too."""
        self._scrub_due = True

    @property
    def scrubbed(self) -> bool:
        return not self._scrub_due

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            while self._idle:
                self._idle.pop().close()
            if not self._writer.closed:
                self._scrub()
            self._writer.close()
            self._engine.dispose()

    def _borrow(self) -> Connection:
        self._refuse_when_closed()
        try:
            return self._idle.pop()
        except IndexError:
            return self._engine.connect()

    def _give_back(self, connection: Connection) -> None:
        if len(self._idle) >= _MOST_IDLE:
            connection.close()
            return
        self._idle.append(connection)
        if self._closed:  # closed while this reader was out: nobody else will come for it
            while self._idle:
                self._idle.pop().close()

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise shutting_down()

    def _roll_back(self) -> None:
        if self._writer.invalidated:  # by SQLAlchemy, as when Ctrl-C strikes in the middle of a statement
            self._writer.close()
            return
        driver = cast("sqlite3.Connection", self._writer.connection.dbapi_connection)
        try:
            if driver.in_transaction:  # a full disk has rolled back already
                self._writer.exec_driver_sql("ROLLBACK")
        except DBAPIError:
            self._drop_writer()

    def _drop_writer(self) -> None:
        """Close a connection in an unknown state, which undoes what it began; the next write makes one."""
        self._writer.invalidate()
        self._writer.close()

    def _scrub(self) -> None:
        """Move the log into the file and empty it; after the next write when a reader is in the way."""
        try:
            self._writer.exec_driver_sql(f"PRAGMA busy_timeout={_SCRUB_TIMEOUT_MS}")
            blocked = self._writer.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar_one()
            self._scrub_due = bool(blocked)
        except DBAPIError:  # what was committed stays committed: not the writer's trouble
            logger.warning("the write-ahead log could not be emptied yet")
        try:
            self._writer.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        except DBAPIError:
            self._drop_writer()


def _engine(path: Path) -> Engine:
    url = make_url("sqlite+pysqlite://").set(database=str(path))
    # hide_parameters: names and vectors must not reach a log by way of an error message.
    engine = create_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,
        json_deserializer=read_json,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun by this module alone
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    return engine


@contextmanager
def translated() -> Iterator[None]:
    """Turn a failure of the database, or a value that it cannot hold, into the sentence for it."""
    try:
        yield
    except DBAPIError as problem:
        raise _meaning(problem.orig) from problem
    except sqlite3.Error as problem:  # from a cursor of the driver itself
        raise _meaning(problem) from problem
    except (OverflowError, UnicodeEncodeError):  # endless integers, half characters; their texts quote them
        raise cannot_hold() from None


def _meaning(problem: BaseException | None) -> RobiError:
    if getattr(problem, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        return Unavailable(
            "disk_full",
            "The disk is full: nothing was saved.",
            "Free some space on the disk that holds the data directory, then try again.",
        )
    return Unavailable(
        "ledger_unavailable",
        f"The ledger cannot be used ({getattr(problem, 'sqlite_errorname', 'unknown error')}).",
        "Try again; if it stays so, check the disk and the permissions of the data directory.",
    )
