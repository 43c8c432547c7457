"""What happened and is kept on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from core.domain.bounds import PAGE_SIZE
from core.domain.events import Event, NewEvent
from core.domain.listing import Page
from core.ledger.database import Database
from core.ledger.sql import events, people


class EventLog:
    """Every method is one transaction, and raises Unavailable: disk_full, ledger_unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        new: Sequence[NewEvent],
        *,
        matched: Mapping[str, datetime] | None = None,
        replaced: Sequence[NewEvent] = (),
    ) -> None:
        """Keep events, and when people were last matched, in one transaction.

        `detail` must be JSON-ready and hold no names and no biometric data. Times of matches only move
        forward; unknown people are ignored. Events that `new` ones take the place of are `replaced`.
        """
        if not new and not matched:
            return
        with self._database.write() as connection:
            events.remove(connection, replaced)
            events.add(connection, new)
            if matched:
                people.touch(connection, matched)

    def listing(
        self,
        *,
        limit: int = 50,
        cursor: str | None = None,
        kind: str | None = None,
        user_id: str | None = None,
    ) -> Page[Event]:
        """Events, newest first.

        Raises:
            BadInput: `bad_parameter` for a cursor of another listing, or a limit outside `PAGE_SIZE`.
        """
        PAGE_SIZE.check(limit, "limit", "Leave it out for the usual page size.")
        with self._database.snapshot() as connection:
            return events.listing(connection, limit, cursor, kind, user_id)

    def erasure(self, event_id: int) -> Event | None:
        """The event that tells of an erasure; None when there is none of that id."""
        with self._database.read() as connection:
            return events.one(connection, event_id, "erased")

    def count(self, kind: str, since: datetime) -> int:
        with self._database.read() as connection:
            return events.count(connection, kind, since)

    def decisions(self, since: datetime, limit: int) -> tuple[tuple[int, str, str | None], ...]:
        """Decisions on record since then, newest first: event id, detail as JSON, who was proposed."""
        with self._database.read() as connection:
            return events.decisions(connection, since, limit)
