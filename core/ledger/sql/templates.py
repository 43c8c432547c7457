"""The templates. Whatever brings or removes one announces it in the change feed, in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, RowMapping, String, bindparam, delete, func, insert, select

from core.domain.templates import (
    ChangeKind,
    HotSet,
    NewTemplate,
    StoredTemplate,
    TemplateBlock,
    TemplateInfo,
    TemplateOwner,
)
from core.ledger.models import (
    gallery,
    inserted_id,
    pack_vector,
    people,
    templates,
    unpack_vector,
)
from core.ledger.sql import changes, driver

_MOST_VARIABLES = 10_000  # SQLite refuses a statement with more than 32766
_ROWS_AT_ONCE = 8192

_STORED = select(
    templates.c.id,
    templates.c.person_id,
    people.c.user_id,
    people.c.name,
    templates.c.vector,
    templates.c.vouched,
).join(people, people.c.id == templates.c.person_id)
_BY_PERSON = _STORED.where(templates.c.person_id.in_(bindparam("wanted", expanding=True))).order_by(
    templates.c.id
)
_BY_USER_ID = _STORED.where(people.c.user_id == bindparam("wanted")).order_by(templates.c.id)
_INFOS = (
    select(
        templates.c.id, templates.c.quality, templates.c.via, templates.c.created_at, templates.c.thumbnail
    )
    .join(people, people.c.id == templates.c.person_id)
    .where(people.c.user_id == bindparam("wanted"))
    .order_by(templates.c.id)
)
_OWNERS = (
    select(templates.c.id, people.c.user_id, people.c.name, templates.c.quality, people.c.photo_asked_at)
    .join(people, people.c.id == templates.c.person_id)
    .where(templates.c.id.in_(bindparam("wanted", expanding=True)))
)
_DIMENSION = select(gallery.c.dimension)
_ALL_IDS = select(func.aggregate_strings(templates.c.id.cast(String), ","))
_COUNT = select(func.count()).select_from(templates)


def add(connection: Connection, number: int, new: Sequence[NewTemplate], at: datetime) -> tuple[int, ...]:
    """Store templates of a person, in this order; their ids."""
    ids = tuple(_insert(connection, _values(number, template, at)) for template in new)
    changes.announce(connection, ChangeKind.PUT, ids, number, at)
    return ids


def copy(connection: Connection, number: int, into: int, at: datetime) -> tuple[int, ...]:
    """Give another person copies of somebody's templates; their ids.

    They are new templates to everybody who follows the feed: a template never changes whose it is.
    """
    theirs = select(templates).where(templates.c.person_id == number).order_by(templates.c.id)
    rows = connection.execute(theirs).mappings().all()
    ids = tuple(_insert(connection, _copied(row, into)) for row in rows)
    changes.announce(connection, ChangeKind.PUT, ids, into, at)
    return ids


def remove(connection: Connection, number: int, at: datetime) -> tuple[int, ...]:
    """Delete all templates of a person; the ids that they had."""
    mine = templates.c.person_id == number
    ids = tuple(connection.scalars(select(templates.c.id).where(mine).order_by(templates.c.id)))
    changes.announce(connection, ChangeKind.DROP, ids, number, at)
    connection.execute(delete(templates).where(mine))
    return ids


def by_id(connection: Connection, template_ids: Iterable[int]) -> dict[int, StoredTemplate]:
    """Every search waits for this join, so the driver does it alone: SQLAlchemy takes four times as long."""
    found: dict[int, StoredTemplate] = {}
    for batch in _batches(template_ids):
        found |= {row[0]: _stored(*row) for row in driver.by_id(connection, _STORED, batch)}
    return found


def by_person(connection: Connection, persons: Iterable[int]) -> tuple[StoredTemplate, ...]:
    return tuple(
        _stored(*row)
        for batch in _batches(persons)
        for row in connection.execute(_BY_PERSON, {"wanted": batch})
    )


def by_user_id(connection: Connection, user_id: str) -> tuple[StoredTemplate, ...]:
    """Oldest first; none for an unknown person."""
    return tuple(_stored(*row) for row in connection.execute(_BY_USER_ID, {"wanted": user_id}))


def infos(connection: Connection, user_id: str) -> tuple[TemplateInfo, ...]:
    return tuple(TemplateInfo(*row) for row in connection.execute(_INFOS, {"wanted": user_id}))


def owners(connection: Connection, template_ids: Iterable[int]) -> dict[int, TemplateOwner]:
    """Those of the templates that exist."""
    found: dict[int, TemplateOwner] = {}
    for batch in _batches(template_ids):
        for row in connection.execute(_OWNERS, {"wanted": batch}):
            found[row[0]] = TemplateOwner(row[1], row[2], row[3], row[4] is not None)
    return found


def hot_set(connection: Connection, limit: int, spare: int, progress: Callable[[float], None]) -> HotSet:
    """Call inside a snapshot: seq, templates and their number belong together."""
    gallery_size, dimension = count(connection), connection.scalar(_DIMENSION) or 0
    most = min(limit, gallery_size)
    ids, persons = np.empty(most + spare, np.int64), np.empty(most + spare, np.int64)
    vectors = np.empty((most + spare, dimension), np.float32)
    used = 0
    with driver.hottest_first(connection) as cursor:
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
    return HotSet(changes.head(connection), ids[:end], persons[:end], vectors[:end], used, gallery_size)


def block(connection: Connection, after: int, limit: int) -> TemplateBlock:
    """The next templates whose ids are above `after`, ascending; none at the end."""
    rows = driver.block(connection, after, limit)
    vectors = unpack_vector(b"".join([row[2] for row in rows]))
    return TemplateBlock(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        vectors.reshape(len(rows), -1) if rows else vectors.reshape(0, 0),
    )


def all_ids(connection: Connection) -> NDArray[np.int64]:
    # One text instead of a million rows: four times as fast, and without the interpreter lock meanwhile.
    text = connection.scalar(_ALL_IDS) or ""
    return np.fromstring(text, np.int64, sep=",")


def count(connection: Connection) -> int:
    return connection.scalar(_COUNT) or 0


def _batches(wanted: Iterable[int]) -> Iterator[list[int]]:
    """As many at a time as one statement can ask for."""
    remaining = iter(wanted)
    while batch := [int(number) for number in islice(remaining, _MOST_VARIABLES)]:
        yield batch


def _values(number: int, new: NewTemplate, at: datetime) -> dict[str, object]:
    return {
        "person_id": number,
        "vector": pack_vector(new.vector),
        "quality": new.quality,
        "via": new.via,
        "created_at": at,
        "thumbnail": new.thumbnail,
        "vouched": new.vouched,
    }


def _copied(row: RowMapping, number: int) -> dict[str, object]:
    kept = ("vector", "quality", "via", "created_at", "thumbnail", "vouched")
    return {"person_id": number, **{name: row[name] for name in kept}}


def _insert(connection: Connection, values: dict[str, object]) -> int:
    return inserted_id(connection.execute(insert(templates), values))


def _stored(
    template_id: int, person: int, user_id: str, name: str, vector: bytes, vouched: int
) -> StoredTemplate:
    return StoredTemplate(template_id, person, user_id, name, unpack_vector(vector), bool(vouched))
