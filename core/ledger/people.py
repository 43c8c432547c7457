"""What is asked of, and done to, people and their templates, within the caller's transaction."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
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

from core.domain.errors import Conflict, NotFound
from core.domain.listing import Page
from core.domain.names import skeleton
from core.domain.people import Person
from core.domain.templates import ChangeKind, NewTemplate, TemplateInfo
from core.domain.validation import servable
from core.ledger import text
from core.ledger.models import changes, inserted_id, pack_vector, people, templates

logger = logging.getLogger(__name__)

_BLOCK = 5_000  # people folded again at a time
_TEMPLATES = (
    select(func.count()).where(templates.c.person_id == people.c.id).scalar_subquery().label("templates")
)
_PEOPLE = select(people, _TEMPLATES)
_ONE = _PEOPLE.where(people.c.user_id == bindparam("wanted"))
_INFOS = (
    select(
        templates.c.id, templates.c.quality, templates.c.via, templates.c.created_at, templates.c.thumbnail
    )
    .join(people, people.c.id == templates.c.person_id)
    .where(people.c.user_id == bindparam("wanted"))
    .order_by(templates.c.id)
)
_TOUCH = (
    update(people)
    .where(people.c.user_id == bindparam("wanted"))
    .where(or_(people.c.last_matched_at.is_(None), people.c.last_matched_at < bindparam("moment")))
    .values(
        last_matched_at=bindparam("moment"),
        active_at=func.max(people.c.active_at, bindparam("moment", type_=people.c.active_at.type)),
    )
)


@dataclass(frozen=True, slots=True)
class FoundPerson:
    """A person together with the ledger's own number for them."""

    number: int
    person: Person


def find(connection: Connection, user_id: str) -> FoundPerson | None:
    row = connection.execute(_ONE, {"wanted": user_id}).one_or_none()
    return None if row is None else FoundPerson(row.id, _person(row))


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


def must_be_free(connection: Connection, user_id: str) -> None:
    """
    Raises:
        Conflict: `person_exists`.
    """
    if find(connection, user_id) is not None:
        raise person_exists(user_id)


def person_exists(user_id: str, **detail: Any) -> Conflict:
    return Conflict(
        "person_exists",
        "Somebody is enrolled under this user_id already.",
        "Choose another user_id, or say that the photos are to be added to that person.",
        detail={"user_id": user_id, **detail},
    )


def add(connection: Connection, user_id: str, name: str, metadata: Mapping[str, Any], at: datetime) -> int:
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
    metadata: Mapping[str, Any] | None = None,
    active: bool = False,
) -> None:
    values: dict[str, Any] = {"updated_at": at}
    if name is not None:
        values |= {"name": name, **_keys(name, found.person.user_id)}
    if metadata is not None:
        values["metadata"] = dict(metadata)
    if active:
        values |= {"active_at": at, "photo_asked_at": None}
    connection.execute(update(people).where(people.c.id == found.number), values)


def ask_for_photo(connection: Connection, found: FoundPerson, at: datetime | None) -> None:
    connection.execute(update(people).where(people.c.id == found.number), {"photo_asked_at": at})


def take_over(
    connection: Connection, other: FoundPerson, into: FoundPerson, at: datetime
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Give copies of the other person's templates to `into`, and remove the other person; new and old ids.

    They are new templates to everybody who follows the feed: a template never changes whose it is.
    """
    rows = connection.execute(
        select(templates).where(templates.c.person_id == other.number).order_by(templates.c.id)
    )
    copies = [_copied(row, into.number) for row in rows]
    ids = tuple(inserted_id(connection.execute(insert(templates), copy)) for copy in copies)
    _announce(connection, ChangeKind.PUT, ids, into.number, at)
    latest = max((p.last_matched_at for p in (other.person, into.person) if p.last_matched_at), default=None)
    connection.execute(update(people).where(people.c.id == into.number), {"last_matched_at": latest})
    return ids, remove(connection, other, at)


def add_templates(
    connection: Connection, number: int, new: Sequence[NewTemplate], at: datetime
) -> tuple[int, ...]:
    """Store the templates and announce them in the change feed, in this order."""
    ids = tuple(_add_template(connection, number, template, at) for template in new)
    _announce(connection, ChangeKind.PUT, ids, number, at)
    return ids


def remove(connection: Connection, found: FoundPerson, at: datetime) -> tuple[int, ...]:
    """Delete the person and the templates; announces the drops."""
    mine = templates.c.person_id == found.number
    ids = tuple(connection.scalars(select(templates.c.id).where(mine).order_by(templates.c.id)))
    _announce(connection, ChangeKind.DROP, ids, found.number, at)
    connection.execute(delete(templates).where(mine))
    connection.execute(delete(people).where(people.c.id == found.number))
    return ids


def template_infos(connection: Connection, user_id: str) -> tuple[TemplateInfo, ...]:
    return tuple(TemplateInfo(*row) for row in connection.execute(_INFOS, {"wanted": user_id}))


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
        total = connection.scalar(select(func.count()).select_from(people).where(matching)) or 0
    statement = _PEOPLE.where(matching).order_by(people.c.search_key, people.c.user_id).limit(limit + 1)
    if cursor is not None:
        statement = statement.where(place > tuple(text.decode_cursor(cursor, str, str)))
    rows = connection.execute(statement).all()
    last = rows[limit - 1] if len(rows) > limit else None
    following = None if last is None else text.encode_cursor(last.search_key, last.user_id)
    return Page(tuple(_person(row) for row in rows[:limit]), following, total)


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


def _add_template(connection: Connection, number: int, new: NewTemplate, at: datetime) -> int:
    values = {
        "person_id": number,
        "vector": pack_vector(new.vector),
        "quality": new.quality,
        "via": new.via,
        "created_at": at,
        "thumbnail": new.thumbnail,
        "vouched": new.vouched,
    }
    return inserted_id(connection.execute(insert(templates), values))


def _copied(row: Any, number: int) -> dict[str, Any]:
    kept = ("vector", "quality", "via", "created_at", "thumbnail", "vouched")
    return {"person_id": number, **{name: getattr(row, name) for name in kept}}


def _announce(
    connection: Connection, kind: ChangeKind, ids: Sequence[int], number: int, at: datetime
) -> None:
    rows = [{"kind": str(kind), "template_id": id_, "person_id": number, "at": at} for id_ in ids]
    if rows:
        connection.execute(insert(changes), rows)


def _person(row: Any) -> Person:
    metadata = servable(row.metadata)
    if metadata is None:
        logger.warning("the metadata of person %d cannot be sent, and are shown as none", row.id)
    return Person(
        user_id=row.user_id,
        name=row.name,
        templates=row.templates,
        created_at=row.created_at,
        updated_at=row.updated_at,
        last_matched_at=row.last_matched_at,
        metadata={} if metadata is None else metadata,
        photo_asked_at=row.photo_asked_at,
    )
