"""The people: finding, adding, changing and removing them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    true,
    tuple_,
    update,
)

from core.domain.errors import NotFound
from core.domain.listing import Page
from core.domain.names import skeleton
from core.domain.people import Person
from core.domain.validation import servable
from core.ledger import text
from core.ledger.models import inserted_id, people, templates

logger = logging.getLogger(__name__)

_BLOCK = 5_000  # people folded again at a time
_TEMPLATES = (
    select(func.count()).where(templates.c.person_id == people.c.id).scalar_subquery().label("templates")
)
_PEOPLE = select(people, _TEMPLATES)
_COUNT = select(func.count()).select_from(people)
_ONE = _PEOPLE.where(people.c.user_id == bindparam("wanted"))
_TOUCH = (
    update(people)
    .where(people.c.user_id == bindparam("wanted"))
    .where(or_(people.c.last_matched_at.is_(None), people.c.last_matched_at < bindparam("moment")))
    .values(
        last_matched_at=bindparam("moment"),
        active_at=case(
            (people.c.active_at < bindparam("moment"), bindparam("moment")), else_=people.c.active_at
        ),
    )
)


@dataclass(frozen=True, slots=True)
class FoundPerson:
    """A person together with the ledger's own number for them."""

    number: int
    person: Person


def find(connection: Connection, user_id: str) -> FoundPerson | None:
    row = connection.execute(_ONE, {"wanted": user_id}).mappings().one_or_none()
    return None if row is None else FoundPerson(row["id"], _person(row))


def must_find(connection: Connection, user_id: str) -> FoundPerson:
    """
    Raises:
        NotFound: `unknown_person`.
    """
    found = find(connection, user_id)
    if found is None:
        raise NotFound(
            "unknown_person",
            "Nobody is enrolled under this user_id.",
            "Look the person up in the list of people.",
        )
    return found


def add(connection: Connection, user_id: str, name: str, metadata: Mapping[str, object], at: datetime) -> int:
    """Create a person; returns the ledger's own number for them."""
    values = {
        "user_id": user_id,
        "name": name,
        **_keys(name, user_id),
        "metadata": dict(metadata),
        "created_at": at,
        "updated_at": at,
        "active_at": at,
    }
    return inserted_id(connection.execute(insert(people), values))


def edit(
    connection: Connection,
    found: FoundPerson,
    at: datetime,
    *,
    name: str | None = None,
    metadata: Mapping[str, object] | None = None,
    active: bool = False,
) -> None:
    values: dict[str, object] = {"updated_at": at}
    if name is not None:
        values |= {"name": name, **_keys(name, found.person.user_id)}
    if metadata is not None:
        values["metadata"] = dict(metadata)
    if active:
        values |= {"active_at": at, "photo_asked_at": None}
    connection.execute(update(people).where(people.c.id == found.number), values)


def ask_for_photo(connection: Connection, found: FoundPerson, at: datetime | None) -> None:
    connection.execute(update(people).where(people.c.id == found.number), {"photo_asked_at": at})


def remove(connection: Connection, found: FoundPerson) -> None:
    """Call after their templates were removed, which has to be announced."""
    connection.execute(delete(people).where(people.c.id == found.number))


def matched_as_either(connection: Connection, found: FoundPerson, other: FoundPerson) -> None:
    """Note the later one of the moments at which the two were last matched."""
    moments = [one.person.last_matched_at for one in (found, other) if one.person.last_matched_at]
    latest = max(moments, default=None)
    connection.execute(update(people).where(people.c.id == found.number), {"last_matched_at": latest})


def listing(
    connection: Connection, query: str, limit: int, cursor: str | None, everybody: int
) -> Page[Person]:
    """People by name, then user_id; `everybody` is how many there are, which takes long to count."""
    place = tuple_(people.c.search_key, people.c.user_id)
    matching: ColumnElement[bool] = true()
    total = everybody
    patterns = text.patterns(query)
    if patterns:
        matching = and_(*(people.c.search_key.like(pattern, escape="\\") for pattern in patterns))
        total = connection.scalar(_COUNT.where(matching)) or 0
    statement = _PEOPLE.where(matching).order_by(people.c.search_key, people.c.user_id).limit(limit + 1)
    if cursor is not None:
        statement = statement.where(place > tuple(text.decode_cursor(cursor, str, str)))
    rows = connection.execute(statement).mappings().all()
    last = rows[limit - 1] if len(rows) > limit else None
    following = None if last is None else text.encode_cursor(last["search_key"], last["user_id"])
    return Page(tuple(_person(row) for row in rows[:limit]), following, total)


def count(connection: Connection) -> int:
    return connection.scalar(_COUNT) or 0


def namesakes(connection: Connection, name: str, limit: int) -> tuple[tuple[str, str], ...]:
    """user_id and name of people whose name is this one or looks like it."""
    alike = select(people.c.user_id, people.c.name).where(people.c.skeleton == skeleton(name))
    rows = connection.execute(alike.order_by(people.c.id).limit(limit))
    return tuple((row.user_id, row.name) for row in rows)


def sharing_names(connection: Connection, user_ids: Collection[str]) -> frozenset[str]:
    """Those of the people whose name is, or looks like, somebody else's too."""
    other = people.alias("other")
    shared = exists().where(other.c.skeleton == people.c.skeleton, other.c.id != people.c.id)
    return frozenset(
        connection.scalars(select(people.c.user_id).where(people.c.user_id.in_(user_ids), shared))
    )


def fold_again(connection: Connection) -> None:
    """Make what is stored to find people by anew: it was made by another folding, or by none."""
    after = 0
    while True:
        block = select(people.c.id, people.c.user_id, people.c.name).where(people.c.id > after)
        rows = connection.execute(block.order_by(people.c.id).limit(_BLOCK)).all()
        if not rows:
            return
        connection.execute(
            update(people).where(people.c.id == bindparam("number")),
            [{"number": row.id, **_keys(row.name, row.user_id)} for row in rows],
        )
        after = rows[-1].id


def touch(connection: Connection, matched: Mapping[str, datetime]) -> None:
    rows = [{"wanted": user_id, "moment": at} for user_id, at in matched.items()]
    connection.execute(_TOUCH, rows)


def _keys(name: str, user_id: str) -> dict[str, str]:
    return {"search_key": text.search_key(name, user_id), "skeleton": skeleton(name)}


def _person(row: RowMapping) -> Person:
    metadata = servable(row["metadata"])
    if metadata is None:
        logger.warning("the metadata of person %d cannot be sent, and are shown as none", row["id"])
    return Person(
        user_id=row["user_id"],
        name=row["name"],
        templates=row["templates"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        last_matched_at=row["last_matched_at"],
        metadata={} if metadata is None else metadata,
        photo_asked_at=row["photo_asked_at"],
    )
