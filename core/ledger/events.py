"""The events: what happened and must be kept. They hold no names: a name is looked up when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, true, update
from sqlalchemy.sql import Select

from core.ledger import text
from core.ledger.models import events, people
from core.types import Event, NewEvent, Page

_ADD = insert(events).values(
    at=bindparam("moment"),
    kind=bindparam("what"),
    person_id=select(people.c.id).where(people.c.user_id == bindparam("who")).scalar_subquery(),
    user_id=bindparam("who"),
    detail=bindparam("how"),
)


def add(connection: Connection, new: Sequence[NewEvent]) -> None:
    """`detail` must be JSON-ready and hold no names and no biometric data."""
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
    statement = _named().where(matching).order_by(events.c.id.desc()).limit(limit + 1)
    if cursor is not None:
        statement = statement.where(events.c.id < text.decode_cursor(cursor, int)[0])
    rows = connection.execute(statement).all()
    following = text.encode_cursor(rows[limit - 1].id) if len(rows) > limit else None
    return Page(tuple(_event(row) for row in rows[:limit]), following, total or 0)


def count(connection: Connection, kind: str, since: datetime) -> int:
    statement = select(func.count()).where(events.c.kind == kind, events.c.at >= since)
    return connection.scalar(statement) or 0


def _event(row: Any) -> Event:
    return Event(row.id, row.at, row.kind, row.user_id, row.name, row.detail or {})


def _named() -> Select[Any]:
    columns = (events.c.id, events.c.at, events.c.kind, events.c.user_id, people.c.name, events.c.detail)
    return select(*columns).join(people, people.c.id == events.c.person_id, isouter=True)
