"""What is put on record, and what is read of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from core.domain.decisions import shown
from core.domain.events import Event, NewEvent
from core.domain.listing import Page
from core.domain.search import Decision, SearchResult
from core.ledger.journal import Journal
from core.ledger.ledger import Ledger
from core.services.tuning import Tuner


class Events:
    def __init__(self, ledger: Ledger, journal: Journal, tuning: Tuner) -> None:
        self._ledger = ledger
        self._journal = journal
        self._tuning = tuning

    def note(
        self,
        search: SearchResult,
        mode: str,
        instead_of: NewEvent | None = None,
        *,
        via: str | None = None,
    ) -> NewEvent:
        """Put a decision on record: who, how similar, how it was found, which threshold decided.
        Written within a second.

        With `instead_of` it takes the place of what was put on record of the same visit earlier.
        `via` is where a photo came from: "photo" (the screen) or "api".
        """
        best = search.best if search.decision is not Decision.UNKNOWN else None
        return self._journal.decided(
            user_id=best.user_id if best else None,
            matched=search.decision is Decision.MATCH,
            detail={
                "decision": search.decision.value,
                "similarity": _similarity(search),
                "lead": _lead(search),
                "mode": mode,
                **({"via": via} if via else {}),
                **({"strategy": search.strategy.value} if search.strategy else {}),
                **({"held_back_by": [str(r) for r in search.held_back_by]} if search.held_back_by else {}),
                "decided_by": {
                    "threshold": search.threshold,
                    "own": search.threshold != self._tuning.now.threshold,  # a request's
                },
            },
            instead_of=instead_of,
        )

    def listing(
        self,
        *,
        limit: int = 50,
        cursor: str | None = None,
        kind: str | None = None,
        user_id: str | None = None,
    ) -> Page[Event]:
        """Newest first. What was decided a moment ago is written before the reading."""
        self._journal.flush()
        return self._ledger.events.listing(limit=limit, cursor=cursor, kind=kind, user_id=user_id)

    def verified_since(self, hours: float) -> int:
        """How many checks were put on record in the last hours."""
        return self._ledger.events.count("verified", datetime.now(UTC) - timedelta(hours=hours))


def _similarity(search: SearchResult) -> float | None:
    """The best similarity with anybody, as it is kept."""
    return shown(search.best.similarity, search.threshold, 4) if search.best else None


def _lead(search: SearchResult) -> float | None:
    """How much more similar the best person is than the second; None where none was asked for, or is."""
    first = search.candidates[:2]
    return round(first[0].similarity - first[1].similarity, 4) if len(first) == 2 else None
