"""How many people and templates there are, without counting them each time that somebody asks."""

from __future__ import annotations

from sqlalchemy import Connection

from core.domain.people import GalleryCounts
from core.ledger.sql import changes, people, templates


class Counter:
    """Thread-safe. Counts again only when the seq has moved."""

    def __init__(self) -> None:
        self._known: tuple[int, GalleryCounts] | None = None

    def counts(self, connection: Connection) -> GalleryCounts:
        """As of the snapshot that `connection` is in."""
        seq, known = changes.head(connection), self._known
        if known is None or known[0] != seq:
            counts = GalleryCounts(people.count(connection), templates.count(connection))
            self._known = known = (seq, counts)
        return known[1]
