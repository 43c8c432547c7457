"""Carries a whole ledger to another database: all rows, and the numbers that may never be given again.

Nobody writes to the source meanwhile. A copy that was cut off is taken up where it ended; until it is whole
and was compared row by row, no Robi opens it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Table,
    Text,
    bindparam,
    cast,
    func,
    insert,
    select,
    text,
    tuple_,
    type_coerce,
)
from sqlalchemy.types import TypeEngine

from core.domain.errors import StartError
from core.ledger.database import Database
from core.ledger.migrations import HEAD, UNFINISHED, migrate, revision
from core.ledger.models import gallery, metadata

_ROWS_AT_ONCE = 1000
_TABLES = sorted(metadata.sorted_tables, key=lambda table: table is not gallery)  # it says whose copy it is
_COUNTED = tuple(table for table in _TABLES if table.dialect_options["sqlite"]["autoincrement"])

Progress = Callable[[str, int], None]
"""Is told a table's name and how many of its rows are there."""


def copy(
    source: Database, target: Database, progress: Progress = lambda _table, _rows: None
) -> Mapping[str, int]:
    """Rows by table.

    Raises:
        StartError: `ledger_not_empty` when the target holds another ledger, or what the source had before;
            `ledger_foreign` or `ledger_too_new` for what no Robi can read.
        Unavailable: one of the two cannot be used, or another process writes to the source.
    """
    with source.write(long=True) as reading:  # the lock of whoever writes: everybody else has to wait
        migrate(reading)
        with target.write(long=True) as writing:
            _begin(reading, writing)
        rows = {table.name: _copied(reading, target, table, progress) for table in _TABLES}
        with target.write(long=True) as writing:
            for table in _COUNTED:
                _set_last_number(writing, table, _last_number(reading, table))
        with target.snapshot() as copied:
            for table in _TABLES:
                if _digest(reading, table) != _digest(copied, table):
                    raise _not_empty()
        with target.write(long=True) as writing:
            writing.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": HEAD})
    return rows


def _begin(reading: Connection, writing: Connection) -> None:
    """Make the tables, and note that they are not whole; or see that it is this copy that was cut off."""
    if revision(writing) == UNFINISHED:
        ours = reading.scalar(select(gallery.c.gallery_id))
        if writing.scalar(select(gallery.c.gallery_id)) not in (None, ours):
            raise _not_empty()
        return
    migrate(writing)
    if any(writing.scalar(select(func.count()).select_from(table)) for table in _TABLES):
        raise _not_empty()
    writing.execute(text("UPDATE alembic_version SET version_num = :state"), {"state": UNFINISHED})


def _copied(reading: Connection, target: Database, table: Table, progress: Progress) -> int:
    with target.read() as there:
        last = there.execute(select(*table.primary_key).order_by(*_descending(table)).limit(1)).one_or_none()
        count = there.scalar(select(func.count()).select_from(table)) or 0
    for rows in _blocks(reading, table, tuple(last) if last else None):
        with target.write(long=True) as writing:
            values = [{f"the_{name}": value for name, value in row._mapping.items()} for row in rows]
            writing.execute(_insert(writing, table), values)
        count += len(rows)
        progress(table.name, count)
    return count


def _blocks(
    connection: Connection, table: Table, after: Sequence[Any] | None = None
) -> Iterator[Sequence[Any]]:
    """Rows by ascending key, so many at a time; JSON as the text that it is kept as."""
    key = list(table.primary_key)
    columns = [_as_text(connection, column) for column in table.columns]
    while True:
        block = select(*columns).order_by(*key).limit(_ROWS_AT_ONCE)
        if after is not None:
            block = block.where(tuple_(*key) > tuple(after))
        rows = connection.execute(block).all()
        if not rows:
            return
        yield rows
        after = tuple(rows[-1]._mapping[column.name] for column in key)


def _as_text(connection: Connection, column: Column[Any]) -> ColumnElement[Any]:
    if not isinstance(column.type, JSON):
        return column
    postgres = connection.dialect.name == "postgresql"
    return (cast(column, Text) if postgres else type_coerce(column, Text)).label(column.name)


def _insert(connection: Connection, table: Table) -> Any:
    """Takes JSON as text, which is valid: it was made by the other database's Robi."""
    postgres = connection.dialect.name == "postgresql"
    given = {column.name: bindparam(f"the_{column.name}", type_=_kept_as(column)) for column in table.columns}
    json_names = {column.name for column in table.columns if isinstance(column.type, JSON)}
    return insert(table).values(
        {
            name: cast(value, JSON) if postgres and name in json_names else value
            for name, value in given.items()
        }
    )


def _kept_as(column: Column[Any]) -> TypeEngine[Any]:
    return Text() if isinstance(column.type, JSON) else column.type


def _digest(connection: Connection, table: Table) -> tuple[int, str]:
    """How many rows there are, and what is in them."""
    count, digest = 0, hashlib.sha256()
    for rows in _blocks(connection, table):
        count += len(rows)
        for row in rows:
            digest.update(json.dumps([_plain(value) for value in row]).encode())
    return count, digest.hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _last_number(connection: Connection, table: Table) -> int:
    """The last one that was given, also to what is erased."""
    if connection.dialect.name == "sqlite":
        kept = text("SELECT seq FROM sqlite_sequence WHERE name = :table")
        return connection.scalar(kept, {"table": table.name}) or 0
    row = connection.exec_driver_sql(f"SELECT last_value, is_called FROM {_sequence(table)}").one()  # noqa: S608  ours
    return int(row.last_value) if row.is_called else 0


def _set_last_number(connection: Connection, table: Table, number: int) -> None:
    if connection.dialect.name == "postgresql":
        if number:
            connection.exec_driver_sql(f"SELECT setval('{_sequence(table)}', {number})")
        return
    values = {"table": table.name, "number": number}
    connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :table"), values)
    connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :number)"), values)


def _sequence(table: Table) -> str:
    (key,) = table.primary_key
    return f"{table.name}_{key.name}_seq"


def _descending(table: Table) -> list[Any]:
    return [column.desc() for column in table.primary_key]


def _not_empty() -> StartError:
    return StartError(
        "ledger_not_empty",
        "The database to copy to holds another ledger, or an older copy of this one.",
        "Make it anew, empty, and begin again; the ledger itself is as it was.",
    )
