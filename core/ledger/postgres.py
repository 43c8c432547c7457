"""A PostgreSQL database: its connections, its transactions, and whether anybody has committed."""

from __future__ import annotations

import select
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, cast

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from core.domain.errors import StartError
from core.ledger.database import BUSY_TIMEOUT_MS, Database, read_json, shutting_down
from core.ledger.postgres_errors import in_doubt, translated
from core.ledger.postgres_listener import Listener
from core.ledger.postgres_session import PATIENCE_S, Session

OLDEST = 13  # PostgreSQL: the first with pg_current_snapshot()
MOST_CONNECTIONS = 16
_POOL_TIMEOUT_S = 5.0
_CONNECT_TIMEOUT_S = 5
_LONG_S = 3600.0
_STATEMENT_S = 60.0  # that the server takes for a statement, at most
_IDLE_IN_TRANSACTION_MS = 120_000  # after which the server takes back what a hung process holds
WRITERS = 0x526F6269  # the advisory lock of whoever writes; it is the database's own

_SESSION = f"""
SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
           WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false),
       set_config('statement_timeout', '{_STATEMENT_S:.0f}s', false),
       set_config('lock_timeout', '{BUSY_TIMEOUT_MS}', false),
       set_config('idle_in_transaction_session_timeout', '{_IDLE_IN_TRANSACTION_MS}', false)
"""
_BEGIN_WRITING = f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({WRITERS})"
_LONG = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# Which transactions are seen by whom asks now: equal texts, equal content. Another server, after a failover,
# may have come to the same numbers by another way.
_VERSION = "SELECT pg_current_snapshot()::text || pg_postmaster_start_time()::text"


class PostgresDatabase(Database):
    """A bounded pool of connections, and one advisory lock for whoever writes.

    The lock is taken before the first statement and goes with the commit, after its changes can be seen: so
    the order of the change feed is the order of commits, and every writer decides on what the last one left.
    """

    def __init__(
        self, url: str, *, connections: int = MOST_CONNECTIONS, wait_s: float = _POOL_TIMEOUT_S
    ) -> None:
        """At most so many `connections`; a reader waits `wait_s` for one of them."""
        self._engine = _engine(url, connections, wait_s)
        self._lock = Lock()
        self._listener = Listener(self._own_connection)
        self._closed = False
        try:
            with self.read() as connection:
                _check(connection)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def write(self, *, long: bool = False) -> Iterator[Connection]:
        with self._lock, self._remembered(), translated():
            connection = self._begin()
            try:
                if long:
                    driver(connection).execute(_LONG)
                    driver(connection).patience_s = _LONG_S
                yield connection
                _commit(connection)
            except BaseException:
                _undo(connection)
                raise
            finally:
                self._give_back(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with translated():
            connection = self.connect()
            try:
                yield connection
            except BaseException:
                _undo(connection)
                raise
            finally:
                self._give_back(connection)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        with self.read() as connection:
            driver(connection).execute(_BEGIN_READING)
            driver(
                connection
            ).patience_s = _STATEMENT_S  # a hot set of millions is sorted before its first row
            yield connection
            driver(connection).execute("COMMIT")

    def connect(self) -> Connection:
        if self._closed:
            raise shutting_down()
        with translated():
            return self._engine.connect()

    def version(self, connection: Connection) -> Hashable:
        with translated():
            try:
                row = driver(connection).execute(_VERSION).fetchone()
            except psycopg.Error:
                _undo(connection)
                raise
        return None if row is None else row[0]

    def when_others_commit(self, tell: Callable[[], None]) -> None:
        self._listener.tell(tell)

    def scrub_soon(self) -> None:
        """PostgreSQL clears old rows by itself (autovacuum), and its log as it goes round."""

    @property
    def scrubbed(self) -> bool:
        """Never: what lies in free room of pages, and in the log, is not known from here."""
        return False

    def set_aside_room(self) -> None:
        """The disk is the server's."""

    def use_reserve(self) -> bool:
        return False

    def close(self) -> None:
        self._listener.close()
        with self._lock:
            self._closed = True
            self._engine.dispose()

    def _begin(self) -> Connection:
        """A connection on which nobody else's transaction that writes is under way."""
        for again in (True, False):
            connection = self.connect()
            try:
                driver(connection).execute(_BEGIN_WRITING)
            except BaseException as problem:
                lost = driver(connection).closed
                _undo(connection)
                self._give_back(connection)
                if not (again and lost and isinstance(problem, psycopg.Error)):
                    raise  # nothing has happened yet where it was lost, so another one can be tried
            else:
                return connection
        raise AssertionError("the second attempt returns or raises")

    def _give_back(self, connection: Connection) -> None:
        if not connection.invalidated:
            driver(connection).patience_s = PATIENCE_S
            if self._closed:
                connection.detach()  # closed while this one was out: the pool would keep it open
        connection.close()

    def _own_connection(self) -> Session:
        """One that belongs to no pool; its owner closes it."""
        connection = self.connect()
        own = driver(connection)
        connection.detach()
        return own


def driver(connection: Connection) -> Session:
    return cast("Session", connection.connection.dbapi_connection)


def _commit(connection: Connection) -> None:
    own = driver(connection)
    try:
        said = own.execute("COMMIT").statusmessage
    except psycopg.Error as problem:
        if own.closed:
            raise in_doubt() from problem
        raise
    if said != "COMMIT":  # after a failed statement, which the caller has let pass
        raise psycopg.errors.InFailedSqlTransaction("rolled back")


def _undo(connection: Connection) -> None:
    """End what was begun; a connection in an unknown state goes, which ends it too."""
    if connection.invalidated:  # by SQLAlchemy, as when Ctrl-C strikes in the middle of a statement
        return
    try:
        driver(connection).rollback()
    except psycopg.Error:
        connection.invalidate()
        return
    if driver(connection).closed:
        connection.invalidate()


def _check(connection: Connection) -> None:
    """
    Raises:
        StartError: `ledger_unfit` when this server can never be used.
    """
    version, encoding = driver(connection).info.server_version, _encoding(connection)
    if version < OLDEST * 10_000:
        raise StartError(
            "ledger_unfit",
            f"The PostgreSQL server is too old (version {version // 10_000}).",
            f"Use PostgreSQL {OLDEST} or newer.",
        )
    if encoding != "UTF8":
        raise StartError(
            "ledger_unfit",
            f"The PostgreSQL database cannot hold every name (its encoding is {encoding}).",
            "Make it with ENCODING 'UTF8'.",
        )


def _encoding(connection: Connection) -> str:
    return str(connection.exec_driver_sql("SHOW server_encoding").scalar_one())


def _engine(url: str, connections: int, wait_s: float) -> Engine:
    try:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
    except ArgumentError:  # its text may quote the password
        raise StartError("invalid_setting", "DATABASE_URL is no URL of a database.", "Correct it.") from None
    # hide_parameters: names and vectors must not reach a log by way of an error message.
    engine = create_engine(
        parsed,
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=wait_s,
        pool_use_lifo=True,
        isolation_level="AUTOCOMMIT",  # transactions are begun by this module alone
        hide_parameters=True,
        json_deserializer=read_json,
        use_native_hstore=False,
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "application_name": "robi",
            "client_encoding": "utf8",
            "keepalives_idle": 10,  # a host that is gone without a word is noticed
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
        },
    )

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, _arguments: object, options: dict[str, Any]) -> Session:
        return Session.connect(**options)

    @event.listens_for(engine, "connect")
    def prepare(connection: Session, _record: object) -> None:
        connection.autocommit = True
        connection.execute(_SESSION)

    @event.listens_for(engine, "checkout")
    def usable(connection: Session, _record: ConnectionPoolEntry, _fairy: object) -> None:
        """The server says nothing to an idle connection, unless it ends it: no round trip is needed."""
        if connection.closed or _readable(connection):
            raise InvalidatePoolError("the server has ended the connection")

    return engine


def _readable(connection: Session) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
