"""A circuit breaker: a server that does not answer is left alone for a while instead of being waited for.

It decides how often the server is tried, for every caller of the tier. Whether searches ask the tier at all
is `Projection.down`'s to decide, which ends only when the follower has caught up with and checked the tier.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from core.domain.json_values import JsonObject

State = Literal["closed", "open", "half-open"]

THRESHOLD = 3  # failures in a row after which the circuit opens
FIRST_WAIT = 0.5  # seconds until the first probe, doubled after each one that fails
LONGEST_WAIT = 5.0  # shorter than the follower's longest back-off: its next attempt finds a probe allowed


class Circuit:
    """Thread-safe. Ask `admit` before each call, and say afterwards how it went.

    closed: every call is admitted. open: none is, until the wait is over. half-open: one call is under way to
    find out; the others are refused until it has ended.
    """

    def __init__(
        self,
        *,
        threshold: int = THRESHOLD,
        first_wait: float = FIRST_WAIT,
        longest_wait: float = LONGEST_WAIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._first_wait = first_wait
        self._longest_wait = longest_wait
        self._clock = clock
        self._lock = threading.Lock()
        self._state: State = "closed"
        self._since = datetime.now(UTC)
        self._failures = 0
        self._wait = first_wait
        self._probe_from = 0.0

    @property
    def state(self) -> State:
        return self._state

    def admit(self) -> bool:
        """Whether the server may be called now. After True, `succeeded` or `failed` must follow."""
        with self._lock:
            if self._state == "closed":
                return True
            if self._state == "half-open" or self._clock() < self._probe_from:
                return False
            self._move("half-open")
            return True

    def succeeded(self) -> None:
        """The server answered, whatever the answer was."""
        with self._lock:
            self._failures = 0
            self._wait = self._first_wait
            self._move("closed")

    def failed(self) -> None:
        """The server did not answer."""
        with self._lock:
            self._failures += 1
            if self._state == "half-open":
                self._wait = min(self._longest_wait, self._wait * 2)
            elif self._state == "open" or self._failures < self._threshold:
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
