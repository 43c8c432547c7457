"""Keeping a tier equal to the ledger: one function applies changes, whoever asks for it and why.

The write path calls it at once, the background thread after a failure, a restart or another process's write,
and a rebuild from zero.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from core.domain.errors import RobiError, StartError
from core.store.contract import (
    BATCH,
    CannotRenew,
    ChangeFeed,
    Renewing,
    Stale,
    Tier,
    TierDown,
    Unsettled,
    Unwritable,
)
from core.store.sync.drift import FEW, Drift, TierComparison, compare, repairs

logger = logging.getLogger("robi.store.follower")


PATIENCE_SECONDS = 0.25  # that a writer grants a tier which was behind before
NOT_OPENED = "It has not been opened yet."
COMPARISONS = 3  # before a tier counts as too busy to be compared

Audit = Callable[[Tier, ChangeFeed], str | None]
"""Why a caught-up tier does not hold what the ledger holds, None if it does; raises Unsettled."""


class Behind(TierDown):
    """The tier answers, but has not caught up yet."""


class Projection:
    """A tier and the only way to write to it.

    `ok`: it had caught up with the ledger when last looked at. `down`: it did not answer when last asked, so
    searches leave it out until the follower has healed it. A tier that is neither is catching up, or takes no
    changes: it is asked, and named as behind.
    """

    def __init__(
        self, tier: Tier, feed: ChangeFeed, *, audit: Audit | None = None, called: str | None = None
    ) -> None:
        """`called` is what logs call the tier, if not by its name."""
        self.tier = tier
        self._called = called or tier.name
        self._feed = feed
        self._audit = audit
        self._lock = threading.Lock()  # the apply lock: held by whoever writes to the tier
        self._verified_generation = 0
        self.wake = threading.Event()
        self.ok = False
        self.down = False
        self.error: str | None = NOT_OPENED
        self.since = datetime.now(UTC)  # for the eye only: everything that waits goes by the monotonic clock
        self.last_check: Drift | None = None

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
        """Whether the tier has applied `seq`, after trying for at most `seconds`, even if the tier hangs."""
        if self.tier.seq >= seq:
            return not self.down
        if self.down:
            self.wake.set()  # the follower heals it; a writer must not wait for a tier known to be away
            return False
        # A tier that is being rebuilt takes as long as it takes: a writer must not wait for that.
        patience = seconds if self.ok else min(seconds, PATIENCE_SECONDS)
        attempt = threading.Thread(
            target=self._attempt, args=(patience,), name=f"{self.tier.name}-write", daemon=True
        )
        try:
            attempt.start()
            attempt.join(patience)
            late = attempt.is_alive()  # it ends within the tier's own deadlines: not the writer's affair
        except RuntimeError:  # no thread is to be had: the change is committed all the same
            late = True
        if late:
            self._judge(ok=False, down=False, error="It does not keep up with what is written.")
            self.wake.set()
        return self.tier.seq >= seq

    def _attempt(self, seconds: float) -> None:
        try:
            self.catch_up(seconds=seconds)
        except RobiError as problem:
            logger.warning("%s did not keep up with a write: %s", self.tier.name, problem)
            self.wake.set()
        except Exception:  # the writer's change is committed: the follower applies it
            logger.exception("applying a change to %s failed", self.tier.name)
            self.wake.set()

    def rebuild(self) -> None:
        """Fill the tier anew from the ledger: beside what answers if it can do that, else in its place.

        Raises:
            TierDown: it could not be done.
        """
        if isinstance(self.tier, Renewing) and not self.down:
            try:
                self.tier.renew()
            except CannotRenew as problem:
                logger.warning("%s is rebuilt in place: %s", self.tier.name, problem)
            else:
                self.catch_up()
                return
        with self.exclusive(None), self._judged():
            self._restart_from_zero("asked for")
            self._follow(None)

    def check(self) -> Drift:
        """Compare all that the tier holds with the ledger, and put right what differs.

        Searches and writes go on meanwhile. `last_check` keeps what was found, before it was put right.

        Raises:
            TierDown: the tier does not answer, is too far behind, or could not be put right.
        """
        found = self._compared()
        self.last_check = drift = found.drift
        if drift.ok:
            logger.info("%s holds all %d templates of the ledger", drift.tier, drift.ledger_count)
            return drift
        logger.warning(
            "%s differs from the ledger at seq %d: %d templates against %d, %d missing, %d too many",
            *(drift.tier, drift.seq, drift.tier_count, drift.ledger_count, drift.missing, drift.extra),
        )
        self._heal(found)
        return drift

    def _compared(self) -> TierComparison:
        for _ in range(COMPARISONS):
            self.catch_up()
            try:
                return compare(self.tier, self._feed, self.catch_up)
            except Unsettled:
                continue
        raise Behind("Too much is being written to compare it with the ledger.")

    def _heal(self, found: TierComparison) -> None:
        if found.drift.missing + found.drift.extra <= FEW:
            with self.exclusive(None):
                seq = self.tier.seq
                if changes := repairs(found, self._feed, seq):
                    self.tier.apply(changes, after=seq)
            if self._compared().drift.ok:
                return
        self.rebuild()

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
        if self.error == NOT_OPENED:
            self.error = "It is catching up with the ledger."
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
            generation = self.tier.generation
            try:
                self.tier.apply(changes, after=after)
                retried = False
            except TierDown as problem:
                elsewhere = isinstance(problem, Stale) or self.tier.generation != generation
                if retried or not elsewhere:
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
            answers = isinstance(problem, Behind | Unwritable)
            self._judge(ok=False, down=not answers, error=problem.message)
            raise
        except RobiError as problem:  # of the ledger: the tier answers as well or as badly as before
            self._judge(ok=False, down=self.down, error=problem.message)
            raise
        except Exception:  # a library may fail in any way, and memory end
            self._judge(ok=False, down=self.down, error="Following the ledger failed; it is tried again.")
            raise
        else:
            self._judge(ok=True, down=False, error=None)

    def _judge(self, *, ok: bool, down: bool, error: str | None) -> None:
        if ok != self.ok:
            self.since = datetime.now(UTC)
            if ok:
                logger.info("%s is in step with the ledger at seq %d", self._called, self.tier.seq)
            else:
                logger.warning("%s is not in step with the ledger: %s", self._called, error)
        self.ok, self.down, self.error = ok, down, error
