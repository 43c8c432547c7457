"""Writes what happens at camera speed to the ledger in batches, so that no recognition waits for a disk."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from core.domain.errors import RobiError
from core.domain.events import NewEvent
from core.ledger.events import EventLog

_log = logging.getLogger("robi.journal")

MOST_WAITING = 2000
_PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class _Entry:
    event: NewEvent
    matched: bool
    instead_of: NewEvent | None


class Journal:
    """One background writer. Entries are in the ledger within about a second, and all of them after close.

    While the ledger cannot write, on a full disk, the newest entries wait until it can.
    """

    def __init__(self, events: EventLog, most_waiting: int = MOST_WAITING) -> None:
        """Beyond `most_waiting` the caller writes: slower, but as long as the ledger can write nothing is
        dropped. While it cannot, no caller waits for it, and the oldest go.
        """
        self._most = most_waiting
        self._events = events
        self._waiting: deque[_Entry] = deque()
        self._writing = threading.Lock()
        self._refused = False  # by the ledger, when last tried
        self._lost = 0  # since then
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="robi-journal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def decided(
        self,
        *,
        user_id: str | None,
        matched: bool,
        detail: Mapping[str, object],
        instead_of: NewEvent | None = None,
    ) -> NewEvent:
        """A face was checked; `user_id` is who was proposed, and `matched` that it was accepted.

        What was said of the same visit before may be given as `instead_of`: the new one replaces it.
        """
        event = NewEvent(datetime.now(UTC), "verified", user_id, detail)
        self._waiting.append(_Entry(event, matched, instead_of))
        if len(self._waiting) > self._most and not self._refused:
            self.flush()
        return event

    def flush(self) -> None:
        """Write everything that waits now."""
        with self._writing:
            entries = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if self._refused:
                entries = self._newest(entries)
            if not entries:
                return
            self._refused = not self._written(entries)
            if self._refused:
                self._waiting.extendleft(reversed(entries))
            elif self._lost:
                _log.error("%d events were lost in all", self._lost)
                self._lost = 0

    def close(self) -> None:
        """Write what waits; may be called without a start."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=5)
        self.flush()

    def _run(self) -> None:
        while not self._closed.wait(_PAUSE_S):
            self.flush()

    def _newest(self, entries: list[_Entry]) -> list[_Entry]:
        lost = max(0, len(entries) - self._most)
        if lost and not self._lost:
            _log.error("events are being lost: too many wait for the ledger")
        self._lost += lost
        return entries[lost:]

    def _written(self, entries: Sequence[_Entry]) -> bool:
        """False: the ledger cannot write now."""
        matched = {e.event.user_id: e.event.at for e in entries if e.matched and e.event.user_id}
        replaced = [entry.instead_of for entry in entries if entry.instead_of]
        gone = {id(event) for event in replaced}  # some may be among those that are written now
        new = [entry.event for entry in entries if id(entry.event) not in gone]
        try:
            self._events.record(new, matched=matched, replaced=replaced)
        except RobiError as problem:
            _log.debug("%d events wait: %s", len(entries), problem.code)
            return False
        except Exception:  # noqa: BLE001  entries that can never be written must not stop those after them
            _log.exception("%d events could not be written", len(entries))
        return True
