"""Writes what happens at camera speed to the ledger in batches, so that no recognition waits for a disk."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.errors import RobiError
from core.ledger.ledger import Ledger
from core.types import NewEvent

_log = logging.getLogger("robi.journal")

_WAITING = 2000  # beyond this the caller writes its own entry: slower, but nothing is dropped
_PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class _Entry:
    event: NewEvent
    matched: bool


class Journal:
    """One background writer. Entries are in the ledger within about a second, and all of them after close."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._queue: queue.Queue[_Entry] = queue.Queue(_WAITING)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="robi-journal", daemon=True)
        self._thread.start()

    def decided(self, *, user_id: str | None, matched: bool, detail: Mapping[str, Any]) -> None:
        """A face was checked; `user_id` is who was proposed, and `matched` that it was accepted."""
        entry = _Entry(NewEvent(datetime.now(UTC), "verified", user_id, detail), matched)
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            self._write([entry])

    def flush(self) -> None:
        """Write everything that waits now."""
        waiting = []
        while True:
            try:
                waiting.append(self._queue.get_nowait())
            except queue.Empty:
                break
        self._write(waiting)

    def close(self) -> None:
        self._closed.set()
        self._thread.join(timeout=5)
        self.flush()

    def _run(self) -> None:
        while not self._closed.wait(_PAUSE_S):
            self.flush()

    def _write(self, entries: list[_Entry]) -> None:
        matched = {e.event.user_id: e.event.at for e in entries if e.matched and e.event.user_id}
        try:
            self._ledger.record([entry.event for entry in entries], matched=matched)
        except RobiError as problem:
            _log.error("%d events could not be written: %s", len(entries), problem.code)
