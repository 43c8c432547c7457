"""What goes past SQLAlchemy to the driver, in each database's own words.

It is what every search waits for, what reads a whole gallery, and what only one of the databases knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.engine.interfaces import DBAPICursor

CHANNEL = "robi_changes"
_HOT = {
    # In the order of the indexes, so that nothing is sorted; CROSS JOIN keeps it.
    "sqlite": "SELECT templates.id, templates.person_id, templates.vector"
    " FROM people CROSS JOIN templates ON templates.person_id = people.id"
    " ORDER BY people.active_at DESC, people.id DESC, templates.id",
    # People are sorted, and not their vectors.
    "postgresql": "SELECT mine.id, mine.person_id, mine.vector FROM people CROSS JOIN LATERAL"
    " (SELECT * FROM templates WHERE templates.person_id = people.id ORDER BY templates.id) AS mine"
    " ORDER BY people.active_at DESC, people.id DESC",
}
_BLOCK = {
    "sqlite": "SELECT id, person_id, vector FROM templates WHERE id > ? ORDER BY id LIMIT ?",
    "postgresql": "SELECT id, person_id, vector FROM templates WHERE id > %s ORDER BY id LIMIT %s",
}


def by_id(connection: Connection, statement: Select[Any], ids: Sequence[int]) -> Sequence[Any]:
    """The rows that `statement`, which has no condition, has for these ids of templates."""
    with closing(_cursor(connection)) as cursor:
        if _is_postgres(connection):
            cursor.execute(f"{_postgres(statement)} WHERE templates.id = ANY(%s)", (list(ids),))
        else:
            cursor.execute(f"{_sqlite(statement)} WHERE templates.id IN ({','.join('?' * len(ids))})", ids)
        return cursor.fetchall()


def block(connection: Connection, after: int, limit: int) -> Sequence[Any]:
    """Id, person and vector of templates above an id, ascending."""
    with closing(_cursor(connection)) as cursor:
        cursor.execute(_BLOCK[connection.dialect.name], (after, limit))
        return cursor.fetchall()


@contextmanager
def hottest_first(connection: Connection) -> Iterator[DBAPICursor]:
    """Id, person and vector of all templates, whole people, most recently active first. In a snapshot only.

    On PostgreSQL the rows stay with the server until they are fetched.
    """
    with closing(_cursor(connection, name="hottest_first")) as cursor:
        cursor.execute(_HOT[connection.dialect.name])
        yield cursor


def notify(connection: Connection) -> None:
    """Tell whoever listens, once this transaction is committed; SQLite tells nobody."""
    if _is_postgres(connection):
        connection.exec_driver_sql(f"NOTIFY {CHANNEL}")


def _cursor(connection: Connection, **named: str) -> DBAPICursor:
    if _is_postgres(connection):
        return connection.connection.cursor(binary=True, **named)  # bytes, not their hexadecimal text
    return connection.connection.cursor()


def _is_postgres(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


@cache
def _sqlite(statement: Select[Any]) -> str:
    return str(statement.compile(dialect=sqlite.dialect()))


@cache
def _postgres(statement: Select[Any]) -> str:
    return str(statement.compile(dialect=psycopg.dialect()))  # type: ignore[no-untyped-call]
