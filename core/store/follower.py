"""Keeping a tier equal to the ledger: one function applies changes, whoever asks for it and why.

The write path calls it at once, the background thread after a failure, a restart or another process's write,
and a rebuild from zero.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from core.errors import RobiError, StartError
from core.store.cold import Tier, TierDown, Unsettled
from core.store.feed import ChangeFeed

logger = logging.getLogger("robi.store.follower")

BATCH = 500  # changes per step: a step blocks the tier's searches for some 20 ms
POLL_SECONDS = 1.0  # how soon another process's write is seen
FIRST_BACKOFF = 0.5
MAX_BACKOFF = 15.0

PATIENCE_SECONDS = 0.25  # that a writer grants a tier which was behind before
CLOSE_SECONDS = 10.0  # for a step that waits for an unreachable tier
PING_SECONDS = 5.0  # how soon an idle tier's death is noticed

Audit = Callable[[Tier, ChangeFeed], str | None]
"""Why a caught-up tier does not hold what the ledger holds, None if it does; raises Unsettled."""


class Behind(TierDown):
    """The tier answers, but has not caught up yet."""


class Projection:
    """A tier and the only way to write to it.

    `ok`: it had caught up with the ledger when last looked at. `down`: it did not answer when last asked, so
    searches leave it out until the follower has healed it. A tier that is neither is catching up: it is
    asked, and named as behind.
    """

    def __init__(self, tier: Tier, feed: ChangeFeed, *, audit: Audit | None = None) -> None:
        self.tier = tier
        self._feed = feed
        self._audit = audit
        self._lock = threading.Lock()  # the apply lock: held by whoever writes to the tier
        self._verified_generation = 0
        self.wake = threading.Event()
        self.ok = False
        self.down = False
        self.error: str | None = "It has not been opened yet."
        self.since = datetime.now(UTC)

    @property
    def in_step(self) -> bool:
        """Whether it had caught up when last looked at, and has not been opened anew since."""
        return self.ok and (self._audit is None or self._verified_generation == self.tier.generation)

    def catch_up(self, *, seconds: float | None = None) -> None:
        """Apply committed changes until there are none left.

        Raises:
            TierDown: the tier did not answer, or not all was applied within `seconds`.
        """
        end = None if seconds is None else time.monotonic() + seconds
        with self.exclusive(seconds), self._judged():
            self._follow(end)

    def reach(self, seq: int, seconds: float) -> bool:
        """Whether the tier has applied `seq`, after trying for at most `seconds`."""
        if self.tier.seq >= seq:
            return not self.down
        if self.down:
            self.wake.set()  # the follower heals it; a writer must not wait for a tier known to be away
            return False
        try:
            # A tier that is being rebuilt takes as long as it takes: a writer must not wait for that either.
            self.catch_up(seconds=seconds if self.ok else min(seconds, PATIENCE_SECONDS))
        except RobiError as problem:
            logger.warning("%s did not reach seq %d: %s", self.tier.name, seq, problem)
            self.wake.set()
        return self.tier.seq >= seq

    def rebuild(self) -> None:
        """Empty the tier and apply the whole ledger."""
        with self.exclusive(None), self._judged():
            self._restart_from_zero("asked for")
            self._follow(None)

    def fail(self, problem: TierDown) -> None:
        """Note that the tier did not answer a search, and have it healed."""
        self._judge(ok=False, down=True, error=problem.message)
        self.wake.set()

    @contextmanager
    def exclusive(self, seconds: float | None) -> Iterator[None]:
        """Hold the apply lock: no change is applied meanwhile."""
        if not self._lock.acquire(timeout=-1 if seconds is None else seconds):
            raise TierDown("It is busy applying changes.")
        try:
            yield
        finally:
            self._lock.release()

    def _follow(self, end: float | None) -> None:
        self.tier.open()
        if self.down:
            self.tier.ping()  # an object that was open before may have nobody at the other end
        self._apply_all(end)
        if self._audit is not None and self._verified_generation != self.tier.generation:
            self._verify(self._audit, end)

    def _verify(self, audit: Audit, end: float | None) -> None:
        """Compare with the ledger after each opening; rebuild once if they differ."""
        for rebuilt in (False, True):
            generation = self.tier.generation
            try:
                difference = audit(self.tier, self._feed)
            except Unsettled:
                return  # the ledger is being written to: the next round compares
            if difference is None:
                self._verified_generation = generation
                return
            if rebuilt:
                raise TierDown(f"It does not hold what the ledger holds: {difference}.")
            self._restart_from_zero(difference)
            self._apply_all(end)

    def _apply_all(self, end: float | None) -> None:
        if self.tier.seq > self._feed.head():
            self._restart_from_zero("it is ahead of the ledger, which must have been restored")
        retried = False
        while changes := self._feed.changes(after := self.tier.seq, BATCH):
            try:
                self.tier.apply(changes, after=after)
                retried = False
            except TierDown:
                if retried:
                    raise
                retried = True  # an engine that was replaced stands somewhere else now: read its seq again
            if end is not None and time.monotonic() > end:
                raise Behind("It is still catching up.")

    def _restart_from_zero(self, reason: str) -> None:
        logger.warning("rebuilding %s from the ledger: %s", self.tier.name, reason)
        self._judge(ok=False, down=False, error="It is being rebuilt from the ledger.")
        self.tier.clear()

    @contextmanager
    def _judged(self) -> Iterator[None]:
        try:
            yield
        except (StartError, TierDown) as problem:
            self._judge(ok=False, down=not isinstance(problem, Behind), error=problem.message)
            raise
        else:
            self._judge(ok=True, down=False, error=None)

    def _judge(self, *, ok: bool, down: bool, error: str | None) -> None:
        if ok != self.ok:
            self.since = datetime.now(UTC)
            if ok:
                logger.info("%s is in step with the ledger at seq %d", self.tier.name, self.tier.seq)
            else:
                logger.warning("%s is not in step with the ledger: %s", self.tier.name, error)
        self.ok, self.down, self.error = ok, down, error


class Follower:
    """The background thread of one projection: opens it, follows the ledger, heals it after failures."""

    def __init__(self, projection: Projection, *, chores: Callable[[], None] | None = None) -> None:
        self._projection = projection
        self._chores = chores
        self._closing = threading.Event()
        self._last_ping = time.monotonic()
        self._jitter = random.Random()  # noqa: S311  spreads retries, decides nothing
        self.attempted = threading.Event()  # set after the first attempt, whatever came of it
        self.fatal: StartError | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"{projection.tier.name}-follower", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End after the present step; may be called twice, and without a start."""
        self._closing.set()
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
                self._closing.wait(self._backoff(failures))
            else:
                self._projection.wake.wait(POLL_SECONDS)

    def _step(self) -> bool:
        try:
            self._projection.catch_up()
            if self._chores is not None:
                self._chores()
            self._ping()
        except StartError as problem:
            self.fatal = problem
            logger.critical("%s cannot be used: %s", self._projection.tier.name, problem)
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

    def _backoff(self, failures: int) -> float:
        longest = min(MAX_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures - 1, 10))
        return longest * self._jitter.uniform(0.5, 1.0)
