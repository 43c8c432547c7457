"""The events: what happened and must be kept. A name is looked up when they are read.

Only what ends a name, a renaming or a merger, holds that name, so that what happened before is told under the
name of then. Erasing the person empties those.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Text,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    true,
    update,
)

from core.domain.events import Event, NewEvent
from core.domain.listing import Page
from core.ledger import text
from core.ledger.models import events, people

_ADD = insert(events).values(
    at=bindparam("moment"),
    kind=bindparam("what"),
    person_id=select(people.c.id).where(people.c.user_id == bindparam("who")).scalar_subquery(),
    user_id=bindparam("who"),
    detail=bindparam("how"),
)

_NAMED = select(
    events.c.id,
    events.c.at,
    events.c.kind,
    events.c.user_id,
    people.c.name,
    events.c.detail,
    events.c.person_id,
    people.c.user_id.label("user_id_now"),
).join(people, people.c.id == events.c.person_id, isouter=True)
_DECISIONS = (
    select(events.c.id, cast(events.c.detail, Text), events.c.user_id)
    .where(events.c.kind == "verified", events.c.at >= bindparam("since"))
    .order_by(events.c.at.desc(), events.c.id.desc())  # as the index has them
    .limit(bindparam("most"))
)

_NAMES = ("from_name", "to_name")
_ENDED = select(events.c.id, events.c.person_id, events.c.user_id, events.c.kind, events.c.detail).where(
    events.c.kind.in_(("renamed", "merged"))
)

Former = Mapping[tuple[int, str], Sequence[tuple[int, str]]]
"""Names that ended, by person and the user_id of then, oldest first: (id of the event that ended it, it)."""


def add(connection: Connection, new: Sequence[NewEvent]) -> None:
    """`detail` must be JSON-ready and hold no biometric data, and no names but those that end."""
    rows = [{"moment": e.at, "what": e.kind, "who": e.user_id, "how": dict(e.detail)} for e in new]
    if rows:
        connection.execute(_ADD, rows)


def remove(connection: Connection, told: Sequence[NewEvent]) -> None:
    """Events as they were given to `add`; those that are not there are passed over."""
    for event in told:
        same = (events.c.kind == event.kind) & (events.c.at == event.at)
        same &= events.c.user_id == event.user_id if event.user_id else events.c.user_id.is_(None)
        connection.execute(delete(events).where(same))


def hand_over(connection: Connection, number: int, into: int) -> None:
    """What happened to one person is told of another from now on, under the user_id of then."""
    connection.execute(update(events).where(events.c.person_id == number), {"person_id": into})


def forget_names(connection: Connection, number: int) -> None:
    """Take the former names of a person, who is being erased, out of what happened."""
    rows = connection.execute(_ENDED.where(events.c.person_id == number)).all()
    for row in rows:
        kept = {key: value for key, value in (row.detail or {}).items() if key not in _NAMES}
        connection.execute(update(events).where(events.c.id == row.id), {"detail": kept})


def listing(
    connection: Connection, limit: int, cursor: str | None, kind: str | None, user_id: str | None
) -> Page[Event]:
    """Newest first."""
    matching: ColumnElement[bool] = true()
    if user_id is not None:
        matching &= events.c.user_id == user_id
    if kind is not None:  # one person's events are fewer than one kind's: only their index is to be used
        matching &= (events.c.kind if user_id is None else events.c.kind.concat("")) == kind
    total = connection.scalar(select(func.count()).select_from(events).where(matching))
    statement = _NAMED.where(matching).order_by(events.c.id.desc()).limit(limit + 1)
    if cursor is not None:
        statement = statement.where(events.c.id < text.decode_cursor(cursor, int)[0])
    rows = connection.execute(statement).mappings().all()
    following = text.encode_cursor(rows[limit - 1]["id"]) if len(rows) > limit else None
    former = _former_names(connection, {row["person_id"] for row in rows if row["name"] is not None})
    items = tuple(_event(row, former) for row in rows[:limit])
    return Page(items, following, total or 0)


def newest(connection: Connection) -> int:
    """The id of the latest event; there must be one."""
    return int(connection.scalar(select(func.max(events.c.id))) or 0)


def one(connection: Connection, event_id: int, kind: str) -> Event | None:
    statement = _NAMED.where(events.c.id == event_id, events.c.kind == kind)
    row = connection.execute(statement).mappings().one_or_none()
    return None if row is None else _event(row, {})


def count(connection: Connection, kind: str, since: datetime) -> int:
    statement = select(func.count()).where(events.c.kind == kind, events.c.at >= since)
    return connection.scalar(statement) or 0


def decisions(connection: Connection, since: datetime, limit: int) -> tuple[tuple[int, str, str | None], ...]:
    """The ids, the details as JSON, and who was proposed, of what was decided since then; newest first.

    The caller reads the JSON, as it needs it: there may be very many.
    """
    rows = connection.execute(_DECISIONS, {"since": since, "most": limit})
    return tuple((row[0], row[1], row[2]) for row in rows)


def _event(row: RowMapping, former: Former) -> Event:
    """With the name that the person had then: the first one that ended since, or the present one."""
    ended = former.get((row["person_id"], row["user_id"]), ())
    name_then = next((name for event_id, name in ended if event_id > row["id"]), row["name"])
    return Event(
        id=row["id"],
        at=row["at"],
        kind=row["kind"],
        user_id=row["user_id"],
        name=row["name"],
        detail=row["detail"] or {},
        name_then=name_then,
        user_id_now=row["user_id_now"],
    )


def _former_names(connection: Connection, numbers: Collection[int]) -> Former:
    found: dict[tuple[int, str], list[tuple[int, str]]] = {}
    if not numbers:
        return found
    # Sorted here: they are few, and asking the database for the order has it sort by a table of its own.
    wanted = connection.execute(_ENDED.where(events.c.person_id.in_(numbers)))
    for row in sorted(wanted, key=lambda row: int(row.id)):
        detail = row.detail or {}
        name = detail.get("from_name")
        user_id = detail.get("from") if row.kind == "merged" else row.user_id
        if name is not None:
            found.setdefault((row.person_id, str(user_id)), []).append((row.id, name))
    return found
