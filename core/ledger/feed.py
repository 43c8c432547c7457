"""The change feed and the join: what the vector tiers follow, and what makes their answers true."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, and_, bindparam, func, select
from sqlalchemy.dialects import sqlite

from core.domain.faces import Embeddings
from core.domain.people import GalleryCounts
from core.domain.templates import Change, ChangeKind, HotSet, StoredTemplate
from core.ledger.models import changes, gallery, people, templates, unpack_vector

_MOST_VARIABLES = 10_000  # SQLite refuses a statement with more than 32766

_STORED = select(
    templates.c.id,
    templates.c.person_id,
    people.c.user_id,
    people.c.name,
    templates.c.vector,
    templates.c.vouched,
).join(people, people.c.id == templates.c.person_id)
_JOIN = f"{_STORED.compile(dialect=sqlite.dialect())} WHERE templates.id IN "
_BY_PERSON = _STORED.where(templates.c.person_id.in_(bindparam("wanted", expanding=True))).order_by(
    templates.c.id
)
_BY_USER_ID = _STORED.where(people.c.user_id == bindparam("wanted")).order_by(templates.c.id)
_HOT = (  # in the order of the indexes, so that nothing is sorted; CROSS JOIN keeps it
    "SELECT templates.id, templates.person_id, templates.vector"
    " FROM people CROSS JOIN templates ON templates.person_id = people.id"
    " ORDER BY people.active_at DESC, people.id DESC, templates.id"
)
_BLOCK = "SELECT id, person_id, vector FROM templates WHERE id > ? ORDER BY id LIMIT ?"
_ROWS_AT_ONCE = 8192
_DIMENSION = select(gallery.c.dimension)
_ALL_IDS = select(func.group_concat(templates.c.id))
_HEAD = select(func.coalesce(func.max(changes.c.seq), 0))
_CHANGES = (
    select(changes.c.seq, changes.c.kind, changes.c.template_id, changes.c.person_id, templates.c.vector)
    .join(
        templates,
        and_(templates.c.id == changes.c.template_id, changes.c.kind == str(ChangeKind.PUT)),
        isouter=True,
    )
    .where(changes.c.seq > bindparam("after"))
    .order_by(changes.c.seq)
    .limit(bindparam("most"))
)


class TemplateBlock(NamedTuple):
    """Some templates side by side: ids and persons (n,), vectors (n, dimension)."""

    ids: NDArray[np.int64]
    persons: NDArray[np.int64]
    vectors: Embeddings


def head(connection: Connection) -> int:
    return connection.scalar(_HEAD) or 0


def after(connection: Connection, seq: int, limit: int) -> tuple[Change, ...]:
    return tuple(_change(row) for row in connection.execute(_CHANGES, {"after": seq, "most": limit}))


def by_id(connection: Connection, template_ids: Collection[int]) -> dict[int, StoredTemplate]:
    """Every search waits for this join, so the driver does it alone: SQLAlchemy takes four times as long."""
    cursor = connection.connection.cursor()
    found: dict[int, StoredTemplate] = {}
    remaining = iter(template_ids)
    while batch := [int(number) for number in islice(remaining, _MOST_VARIABLES)]:
        cursor.execute(f"{_JOIN}({','.join('?' * len(batch))})", batch)
        found |= {row[0]: _stored(row) for row in cursor.fetchall()}
    return found


def by_person(connection: Connection, persons: Collection[int]) -> tuple[StoredTemplate, ...]:
    return tuple(_in_batches(connection, _BY_PERSON, persons))


def by_user_id(connection: Connection, user_id: str) -> tuple[StoredTemplate, ...]:
    return tuple(_stored(row) for row in connection.execute(_BY_USER_ID, {"wanted": user_id}))


def hot_set(connection: Connection, limit: int, spare: int, progress: Callable[[float], None]) -> HotSet:
    """Call inside a snapshot: seq, templates and their number belong together."""
    gallery_size, dimension = counts(connection).templates, connection.scalar(_DIMENSION) or 0
    most = min(limit, gallery_size)
    ids, persons = np.empty(most + spare, np.int64), np.empty(most + spare, np.int64)
    vectors = np.empty((most + spare, dimension), np.float32)
    used = 0
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(_HOT)
        while used < most and (rows := cursor.fetchmany(min(_ROWS_AT_ONCE, most - used))):
            end = used + len(rows)
            ids[used:end] = [row[0] for row in rows]
            persons[used:end] = [row[1] for row in rows]
            blobs = b"".join([row[2] for row in rows])
            vectors[used:end] = unpack_vector(blobs).reshape(len(rows), dimension)
            used = end
            progress(used / most)
        following = cursor.fetchone()
    if following is not None and used and following[1] == persons[used - 1]:
        used = int(np.argmax(persons[:used] == following[1]))  # only part of them would be here
    end = used + spare
    return HotSet(head(connection), ids[:end], persons[:end], vectors[:end], used, gallery_size)


def block(connection: Connection, after: int, limit: int) -> TemplateBlock:
    """The next templates whose ids are above `after`, ascending; none at the end."""
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(_BLOCK, (after, limit))
        rows = cursor.fetchall()
    vectors = unpack_vector(b"".join([row[2] for row in rows]))
    return TemplateBlock(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        vectors.reshape(len(rows), -1) if rows else vectors.reshape(0, 0),
    )


def template_ids(connection: Connection) -> tuple[int, NDArray[np.int64]]:
    """Call inside a snapshot: seq and ids belong together."""
    # One text instead of a million rows: four times as fast, and without the interpreter lock meanwhile.
    text = connection.scalar(_ALL_IDS) or ""
    return head(connection), np.fromstring(text, np.int64, sep=",")


def counts(connection: Connection) -> GalleryCounts:
    return GalleryCounts(
        people=connection.scalar(select(func.count()).select_from(people)) or 0,
        templates=connection.scalar(select(func.count()).select_from(templates)) or 0,
    )


def _in_batches(
    connection: Connection, statement: Select[Any], wanted: Iterable[int]
) -> Iterator[StoredTemplate]:
    remaining = iter(wanted)
    while batch := [int(number) for number in islice(remaining, _MOST_VARIABLES)]:
        yield from map(_stored, connection.execute(statement, {"wanted": batch}))


def _stored(row: Sequence[Any]) -> StoredTemplate:
    return StoredTemplate(row[0], row[1], row[2], row[3], unpack_vector(row[4]), bool(row[5]))


def _change(row: Sequence[Any]) -> Change:
    seq, kind, template_id, person, vector = row
    return Change(
        seq, ChangeKind(kind), template_id, person, None if vector is None else unpack_vector(vector)
    )
