"""A circuit breaker: what fails is left alone for a moment, and then tried by one caller, not by all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from core.domain.json_values import JsonObject

State = Literal["closed", "open", "half-open"]

THRESHOLD = 3  # failures in a row after which the circuit opens
WAIT_SECONDS = 1.0  # until the next try, however long it has been going on


class Circuit:
    """Thread-safe. Ask `admit` before each call, and say afterwards how it went.

    closed: every call is admitted. open: none is, until the wait is over. half-open: one call is under way to
    find out; the others are refused until it has ended.
    """

    def __init__(
        self,
        *,
        threshold: int = THRESHOLD,
        wait: float = WAIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._wait = wait
        self._clock = clock
        self._lock = threading.Lock()
        self._state: State = "closed"
        self._since = datetime.now(UTC)
        self._failures = 0
        self._probe_from = 0.0

    @property
    def state(self) -> State:
        return self._state

    def admit(self) -> bool:
        """Whether the call may be made now. After True, `succeeded` or `failed` must follow."""
        with self._lock:
            if self._state == "closed":
                return True
            if self._state == "half-open" or self._clock() < self._probe_from:
                return False
            self._move("half-open")
            return True

    def succeeded(self) -> None:
        """There was an answer, whatever it was."""
        with self._lock:
            self._failures = 0
            self._move("closed")

    def failed(self, *, hung: bool = False) -> None:
        """There was no answer. One that was waited for to the end opens the circuit at once: it was dear."""
        with self._lock:
            self._failures += 1
            enough = hung or self._failures >= self._threshold
            if self._state == "open" or (self._state == "closed" and not enough):
                return  # a call that was admitted before the circuit opened does not prolong the wait
            self._probe_from = self._clock() + self._wait
            self._move("open")

    def info(self) -> JsonObject:
        """state, since (UTC, ISO 8601), failures in a row."""
        with self._lock:
            return {
                "state": self._state,
                "since": self._since.isoformat(timespec="seconds"),
                "failures": self._failures,
            }

    def _move(self, state: State) -> None:
        if state != self._state:
            self._state = state
            self._since = datetime.now(UTC)
