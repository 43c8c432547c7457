"""The change feed: every template that came or went, by a strictly increasing seq."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, func, insert, select

from core.domain.templates import Change, ChangeKind
from core.ledger.models import changes, templates, unpack_vector
from core.ledger.sql import driver

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


def head(connection: Connection) -> int:
    """The greatest committed seq; 0 when there is none."""
    return connection.scalar(_HEAD) or 0


def after(connection: Connection, seq: int, limit: int) -> tuple[Change, ...]:
    """At most `limit` changes above a seq, ascending."""
    return tuple(_change(*row) for row in connection.execute(_CHANGES, {"after": seq, "most": limit}))


def announce(
    connection: Connection, kind: ChangeKind, template_ids: Sequence[int], number: int, at: datetime
) -> None:
    """Append what happened to templates of one person, in the transaction in which it happens."""
    rows = [{"kind": str(kind), "template_id": id_, "person_id": number, "at": at} for id_ in template_ids]
    if rows:
        connection.execute(insert(changes), rows)
        driver.notify(connection)


def _change(seq: int, kind: str, template_id: int, person: int, vector: bytes | None) -> Change:
    unpacked = None if vector is None else unpack_vector(vector)
    return Change(seq, ChangeKind(kind), template_id, person, unpacked)
