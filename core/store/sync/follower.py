"""The background thread that keeps a tier in step: after a failure, a restart, another process's write."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from core.domain.errors import RobiError, StartError
from core.store.contract import TierDown
from core.store.sync.projection import Projection

logger = logging.getLogger("robi.store.follower")

POLL_SECONDS = 1.0  # how soon another process's write is seen
FIRST_BACKOFF = 0.5
MAX_BACKOFF = 15.0
CHECK_AGAIN_SECONDS = 30.0  # after a drift check that came to nothing
CLOSE_SECONDS = 10.0  # for a step that waits for an unreachable tier
PING_SECONDS = 5.0  # how soon an idle tier's death is noticed


class Follower:
    """The background thread of one projection: opens it, follows the ledger, heals it after failures."""

    def __init__(
        self,
        projection: Projection,
        *,
        chores: Callable[[], None] | None = None,
        check_minutes: float = 0.0,
        longest_pause: float = MAX_BACKOFF,
    ) -> None:
        """`check_minutes` is the time between drift checks, 0 for none.

        `longest_pause`: seconds after which a tier that has failed is tried again, however often it has.
        """
        self._projection = projection
        self._chores = chores
        self._longest_pause = longest_pause
        self._closing = threading.Event()
        self._hurry = threading.Event()  # ends the pause after a failure
        self._last_ping = time.monotonic()
        self._jitter = random.Random()  # noqa: S311  spreads retries, decides nothing
        self._check_seconds = 60.0 * check_minutes
        self._next_check = time.monotonic() + self._check_seconds * self._jitter.uniform(0.5, 1.0)
        self._doubted = threading.Event()
        self._last_check = -CHECK_AGAIN_SECONDS
        self.attempted = threading.Event()  # set after the first attempt, whatever came of it
        self.fatal: StartError | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"{projection.tier.name}-follower", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    @property
    def away(self) -> bool:
        """Whether the tier did not answer when last asked."""
        return self._projection.down

    def try_now(self, seconds: float) -> None:
        """Try without waiting for the end of a pause, and wait at most `seconds` for what comes of it."""
        self.attempted.clear()
        self._hurry.set()
        self._projection.wake.set()
        self.attempted.wait(seconds)

    def check_soon(self) -> None:
        """Compare the tier with the ledger at the next opportunity: somebody has reason to doubt it."""
        self._doubted.set()
        self._projection.wake.set()

    def close(self) -> None:
        """End after the present step; may be called twice, and without a start."""
        self._closing.set()
        self._hurry.set()
        self._projection.wake.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        failures = 0
        while not self._closing.is_set():
            self._projection.wake.clear()
            failures = 0 if self._step() else failures + 1
            self.attempted.set()
            if failures:
                failures = 0 if self._hurry.wait(self._backoff(failures)) else failures
                self._hurry.clear()
            else:
                self._projection.wake.wait(POLL_SECONDS)

    def _step(self) -> bool:
        try:
            self._projection.catch_up()
            if self._chores is not None:
                self._chores()
            self._ping()
            self._check()
        except StartError as problem:
            if self.fatal is None or self.fatal.message != problem.message:
                logger.critical("%s cannot be used: %s", self._projection.tier.name, problem)
            self.fatal = problem
        except RobiError as problem:
            logger.debug("%s: %s", self._projection.tier.name, problem)
        except Exception:  # a follower that dies would never heal its tier
            logger.exception("following the ledger failed for %s", self._projection.tier.name)
        else:
            return True
        return False

    def _ping(self) -> None:
        if time.monotonic() - self._last_ping < PING_SECONDS:
            return
        self._last_ping = time.monotonic()
        try:
            self._projection.tier.ping()
        except TierDown as problem:
            self._projection.fail(problem)
            raise

    def _check(self) -> None:
        due = self._check_seconds and time.monotonic() >= self._next_check
        doubted = self._doubted.is_set() and time.monotonic() >= self._last_check + CHECK_AGAIN_SECONDS
        if not due and not doubted:
            return
        self._doubted.clear()
        self._last_check = time.monotonic()
        try:
            self._projection.check()
        except RobiError as problem:
            logger.info("%s was not compared with the ledger: %s", self._projection.tier.name, problem)
            self._next_check = time.monotonic() + CHECK_AGAIN_SECONDS
        else:
            self._next_check = time.monotonic() + self._check_seconds * self._jitter.uniform(0.9, 1.1)

    def _backoff(self, failures: int) -> float:
        longest = min(self._longest_pause, FIRST_BACKOFF * 2.0 ** min(failures - 1, 10))
        return longest * self._jitter.uniform(0.5, 1.0)
