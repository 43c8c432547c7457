"""The events: what happened and must be kept. Names stand in `name` alone, which erasing clears."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, select, true

from core.ledger import text
from core.ledger.models import events
from core.types import Event, Page


def add(
    connection: Connection,
    at: datetime,
    kind: str,
    *,
    user_id: str | None = None,
    name: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    values = {"at": at, "kind": kind, "user_id": user_id, "name": name, "detail": dict(detail or {})}
    connection.execute(insert(events), values)


def listing(
    connection: Connection, limit: int, cursor: str | None, kinds: Sequence[str], user_id: str | None
) -> Page[Event]:
    """Newest first."""
    matching: ColumnElement[bool] = true()
    if kinds:
        matching &= events.c.kind.in_(kinds)
    if user_id is not None:
        matching &= events.c.user_id == user_id
    total = connection.scalar(select(func.count()).select_from(events).where(matching))
    statement = select(events).where(matching).order_by(events.c.id.desc()).limit(limit + 1)
    if cursor is not None:
        statement = statement.where(events.c.id < text.decode_cursor(cursor, int)[0])
    rows = connection.execute(statement).all()
    following = text.encode_cursor(rows[limit - 1].id) if len(rows) > limit else None
    return Page(tuple(Event(*row) for row in rows[:limit]), following, total or 0)


def count(connection: Connection, kind: str, since: datetime) -> int:
    statement = select(func.count()).where(events.c.kind == kind, events.c.at >= since)
    return connection.scalar(statement) or 0
