"""Who was erased, told so that they can be found again in an older copy of this ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, select

from core.ledger.database import Database
from core.ledger.models import events, people

_BLOCK = 5_000
# What is told of a person stays with their number, or with that of whoever they were merged into.
_TOLD_OF_THE_GONE = select(events.c.kind, events.c.at, events.c.detail).where(
    events.c.user_id == bindparam("wanted"),
    events.c.kind.in_(("enrolled", "merged")),
    ~select(people.c.id).where(people.c.id == events.c.person_id).exists(),
)


@dataclass(frozen=True, slots=True)
class EnrolledId:
    """A person, for good: nobody else was enrolled under this user_id at this moment."""

    user_id: str
    at: datetime


class ErasedPeople:
    """Every method is one transaction, and raises Unavailable: disk_full, ledger_unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self) -> int:
        """The id of the newest event that tells of an erasure; 0 when there is none."""
        statement = select(func.coalesce(func.max(events.c.id), 0)).where(events.c.kind == "erased")
        with self._database.read() as connection:
            return int(connection.scalar(statement) or 0)

    def after(self, event: int) -> tuple[tuple[int, EnrolledId], ...]:
        """Who was erased by later events than that one, each with the event, ascending.

        Whoever was merged into somebody who was erased is told as well: an older copy has both.
        """
        later = select(events.c.id, events.c.user_id).where(events.c.kind == "erased", events.c.id > event)
        with self._database.snapshot() as connection:
            told = connection.execute(later.order_by(events.c.id)).all()
            return tuple((row.id, gone) for row in told for gone in _gone(connection, row.user_id))

    def living(self) -> Iterator[EnrolledId]:
        """Everybody who is enrolled, some thousand at a time."""
        last = 0
        while True:
            block = select(people.c.id, people.c.user_id, people.c.created_at).where(people.c.id > last)
            with self._database.read() as connection:
                rows = connection.execute(block.order_by(people.c.id).limit(_BLOCK)).all()
            if not rows:
                return
            yield from (EnrolledId(row.user_id, row.created_at) for row in rows)
            last = rows[-1].id


def _gone(connection: Connection, user_id: str) -> Iterator[EnrolledId]:
    """Those who had this user_id and are no more, and those who had been merged into them."""
    wanted, seen = [user_id], {user_id}
    while wanted:
        current = wanted.pop()
        for row in connection.execute(_TOLD_OF_THE_GONE, {"wanted": current}):
            if row.kind == "enrolled":
                yield EnrolledId(current, row.at)
            elif (other := str((row.detail or {}).get("from"))) not in seen:
                seen.add(other)
                wanted.append(other)
