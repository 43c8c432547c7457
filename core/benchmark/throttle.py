"""Giving way: a run takes little of the machine's time while live searches are answered."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.runtime.background import Cancelled

LIVE_SECONDS = 1.0  # without a live search for longer nobody is being held up
ALONE_SHARE = 0.05  # of the time, for one client's searches and the oracle, while live searches come in
BUILD_SHARE = 0.1  # for building a cache, by a thread of low priority
CROWD_SHARE = 0.25  # for many clients at once: every live search has to wait for some of them


class Late(Exception):
    """The time limit has come: what is complete is kept."""


class Pace:
    """When to rest, and when to stop. Goes by the monotonic clock, whatever is done to the wall's.

    `live` counts live searches, `wait` waits so many seconds and says whether the run was cancelled.
    """

    def __init__(self, live: Callable[[], int], wait: Callable[[float], bool], limit_s: float) -> None:
        self._live = live
        self._wait = wait
        self.started = time.monotonic()
        self._end = self.started + limit_s
        self._seen = live()
        self._seen_at = -LIVE_SECONDS
        self.gave_way = False
        """Whether live searches came meanwhile."""

    def check(self) -> None:
        """
        Raises:
            Cancelled, Late.
        """
        if self._wait(0):
            raise Cancelled()
        if time.monotonic() >= self._end:
            raise Late

    def rest(self, worked_s: float, share: float) -> None:
        """After `worked_s` of work, rest so that it was this share of the time, if anybody is held up.

        Raises:
            Cancelled, Late.
        """
        if self._busy():
            self.gave_way = True
            pause = worked_s * (1 / share - 1)
            self._wait(min(pause, max(0.0, self._end - time.monotonic())))
        self.check()

    def resting(self, share: float) -> Callable[[], None]:
        """A step for one thread to call between pieces of its work: `rest`, by the processor time between."""
        since: float | None = None

        def step() -> None:
            nonlocal since
            self.rest(0.0 if since is None else time.thread_time() - since, share)
            since = time.thread_time()

        return step

    def _busy(self) -> bool:
        now, count = time.monotonic(), self._live()
        if count != self._seen:
            self._seen, self._seen_at = count, now
        return now - self._seen_at < LIVE_SECONDS
