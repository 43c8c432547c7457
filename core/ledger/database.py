"""The SQLite file: its connections, its transactions, and what its failures mean."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import cast

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from core.domain.errors import BadInput, RobiError, Unavailable
from core.runtime import disk

logger = logging.getLogger(__name__)

BUSY_TIMEOUT_MS = 5_000  # how long one process waits for another one's transaction
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


class Database:
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
        self.refused: Unavailable | None = None  # why the last transaction that writes failed
        with translated():
            self._writer = self._engine.connect()
        self.set_aside_room()

    def set_aside_room(self) -> None:
        """Have some of the disk in reserve; does nothing when it is there, or when the disk is full."""
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
        """Give the reserve to whoever must write on a full disk; False when it is used already."""
        used = self._reserve.exists()
        self._reserve.unlink(missing_ok=True)
        return used

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: all of it is committed and durable on leaving, or nothing of it happened."""
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
    def _remembered(self) -> Iterator[None]:
        try:
            yield
        except Unavailable as problem:
            self.refused = problem
            raise
        self.refused = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection of one's own for single statements; no transaction, so no cost beyond the query."""
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
        """Like `read`; all statements inside see the same moment."""
        with self.read() as connection:
            connection.exec_driver_sql("BEGIN")
            yield connection
            connection.exec_driver_sql("COMMIT")

    def connect(self) -> Connection:
        """A reading connection that the caller keeps, and closes before this is closed."""
        self._refuse_when_closed()
        return self._engine.connect()

    def scrub_soon(self) -> None:
        """Call inside `write` after erasing: once committed, old content leaves the write-ahead log too."""
        self._scrub_due = True

    @property
    def scrubbed(self) -> bool:
        """Whether nothing that was erased is in the write-ahead log any more."""
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


def shutting_down() -> Unavailable:
    return Unavailable("ledger_unavailable", "Robi is shutting down.", "Start Robi again.")


def _engine(path: Path) -> Engine:
    url = make_url("sqlite+pysqlite://").set(database=str(path))
    # hide_parameters: names and vectors must not reach a log by way of an error message.
    engine = create_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,
        json_deserializer=_read_json,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun by this module alone
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _read_json(text: str) -> object:
    """What was stored, or None: one value that is nested too deep must not take a whole listing with it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        logger.warning("a value in the ledger cannot be read, and counts as none")
        return None


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
        raise BadInput(
            "bad_parameter", "There is a value that the ledger cannot hold.", "Send another value."
        ) from None


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
