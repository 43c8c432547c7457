"""Building the next generation of the Edge engine's data while the present one answers.

A second, low-priority child fills a directory of its own from the ledger and builds the HNSW graph there
(`optimize()` blocks its process for minutes: nothing that answers may run it, not even by the segment, which
takes seconds each). Then an ordinary child opens the result, which is caught up, compared with the ledger
and handed over. One mechanism for the graph, for rebuilding, healing and getting rid of what was erased.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.runtime.child_process import ChildGone
from core.store.contract import BATCH, SAME_VECTOR, SPOT_CHECK, ChangeFeed, TierDown, condense
from core.store.tiers.edge.engine import APPLY_SECONDS, EdgeEngine, Record, spawn
from core.store.tiers.edge.process import EdgeProcess, EngineError

logger = logging.getLogger("robi.store.edge")

NICE = 10
INDEX_FROM = 20_000  # points; below, an exact scan of 128 dimensions takes under a millisecond
GRAPH_SECONDS = 5e-6  # of computing per number in the vectors: 100k x 128 took 65 s, so it is an estimate
FILL_SHARE = 0.1  # of the whole work, when there is a graph to build
STALL_SECONDS = 60.0  # without computing anything: it hangs
LOOK_SECONDS = 0.5  # between looks at a child that builds a graph
ASK_SECONDS = 10.0

GROWTH = 8  # an eighth as many points outside of the graph as inside: scanning them takes the larger part
DROPPED_SHARE = 0.2  # of the points erased since the generation was built
FEWEST_DROPPED = 1000
DROPPED_FOR_SECONDS = 24 * 3600.0  # after which what was erased has to leave the files, however little it is
CHEAP_SECONDS = 60.0  # in which it has left them where there is no graph to build: that takes a second or two


def leave_within(points: int, index_from: int) -> float:
    """Seconds after which what was erased has left the files."""
    return CHEAP_SECONDS if points < index_from else DROPPED_FOR_SECONDS + 3600.0


def due(points: int, found: Mapping[str, float], index_from: int) -> str | None:
    """Why a new generation is worth its while, from what the engine told of itself; None when it is not."""
    outside, dropped = points - found["indexed"], found["dropped"]
    if points >= index_from and outside >= max(index_from, found["indexed"] / GROWTH):
        return f"{outside:.0f} points are not in the graph"
    if dropped and points < index_from:
        return f"{dropped:.0f} erased points are still in its files, and building is cheap"
    if dropped > max(FEWEST_DROPPED, DROPPED_SHARE * points):
        return f"{dropped:.0f} erased points are still in its files"
    if found["dropped_for"] > DROPPED_FOR_SECONDS:
        return f"{dropped:.0f} points were erased a day ago"
    return None


class BuildCancelled(Exception):
    """Robi is closing."""


class Build:
    """One attempt at a new generation. `run` does it; `percent` may be read meanwhile from anywhere."""

    def __init__(
        self,
        directory: Path,
        dimension: int,
        feed: ChangeFeed,
        record: Record,
        cancelled: threading.Event,
        *,
        index_from: int = INDEX_FROM,
    ) -> None:
        self.directory = directory
        self._dimension = dimension
        self._feed = feed
        self._record = record
        self._cancelled = cancelled
        self._index_from = index_from
        self._done = 0.0  # share of the work, 0..1
        self.pid: int | None = None  # of the child at work

    @property
    def percent(self) -> int:
        return int(100 * self._done)

    def run(self, hand_over: Callable[[EdgeEngine], None]) -> None:
        """Build, check and hand over; on failure nothing remains.

        Raises:
            TierDown: it failed; the present generation is as it was.
            Cancelled: it was told to stop.
        """
        engine = EdgeEngine(self.directory, self._dimension, self._record, closed=self._cancelled.is_set)
        try:
            self._fill_and_index()
            self._heed()
            engine.start()
            self.pid = engine.pid
            self._check(engine)
            hand_over(engine)
        except BaseException as problem:
            engine.kill()
            shutil.rmtree(self.directory, ignore_errors=True)
            if isinstance(problem, (ChildGone, EngineError)):
                raise TierDown(f"The new generation could not be built: {problem}.") from None
            raise

    def _fill_and_index(self) -> None:
        child = spawn(self.directory, self._dimension, nice=NICE)
        self.pid = child.pid
        try:
            status, answer = child.loaded(APPLY_SECONDS)
            if status != "ready":
                raise TierDown(f"The new generation could not be begun: {answer}.")
            points = self._fill(child)
            if points >= self._index_from:
                self._index(child, points)
            child.close(APPLY_SECONDS)
        finally:
            child.kill()

    def _fill(self, child: EdgeProcess) -> int:
        """Apply the ledger up to its head of now; returns how many points that makes."""
        share = FILL_SHARE if self._feed.counts().templates >= self._index_from else 1.0
        seq, head = 0, max(1, self._feed.head())
        while changes := self._feed.changes(seq, BATCH):
            started = time.monotonic()
            seq = child.apply(condense(changes, self._dimension), APPLY_SECONDS)
            self._done = share * min(1.0, seq / head)
            self._heed(time.monotonic() - started)  # leave half of the time to the searches
        return int(child.request("count", deadline=ASK_SECONDS))

    def _index(self, child: EdgeProcess, points: int) -> None:
        """Raises ChildGone when it ends, TierDown when it computes nothing for STALL_SECONDS."""
        expected = GRAPH_SECONDS * points * self._dimension
        child.post("optimize", seconds=ASK_SECONDS)
        before = worked = child.cpu_seconds()
        alive = time.monotonic()
        while not child.answers_within(LOOK_SECONDS):
            self._heed()
            if (spent := child.cpu_seconds()) > worked:
                worked, alive = spent, time.monotonic()
            elif time.monotonic() - alive > STALL_SECONDS:
                raise TierDown("The new generation could not be built: it stopped working.")
            self._done = FILL_SHARE + (0.99 - FILL_SHARE) * min(1.0, (worked - before) / expected)
        child.result(ASK_SECONDS)

    def _check(self, engine: EdgeEngine) -> None:
        """Bring the new engine up to one moment of the ledger, and see that it holds what that holds."""
        apply_until(engine, self._feed, self._dimension, self._feed.head())
        seq, truth = self._feed.template_ids()
        apply_until(engine, self._feed, self._dimension, seq)
        parts = [np.empty(0, np.int64), *engine.all_ids(ASK_SECONDS)]
        held = np.concatenate(parts)
        if extra := len(np.setdiff1d(held, truth)):
            raise TierDown(f"The new generation holds {extra} templates too many.")
        # Those that were erased since that moment came without a vector already.
        if missing := len(self._feed.resolve(np.setdiff1d(truth, held).tolist())):
            raise TierDown(f"The new generation lacks {missing} templates.")
        self._compare_vectors(engine, held)

    def _compare_vectors(self, engine: EdgeEngine, held: NDArray[np.int64]) -> None:
        sample = np.random.default_rng().permutation(held)[:SPOT_CHECK].tolist()
        truth, found = self._feed.resolve(sample), engine.held(sample, ASK_SECONDS)
        if any(float(found[i] @ stored.vector) < SAME_VECTOR for i, stored in truth.items() if i in found):
            raise TierDown("The new generation holds other vectors than the ledger.")

    def _heed(self, seconds: float = 0.0) -> None:
        if self._cancelled.wait(seconds):
            raise BuildCancelled


def apply_until(engine: EdgeEngine, feed: ChangeFeed, dimension: int, seq: int) -> None:
    """Apply what the ledger has committed, at least up to `seq` and no change beyond it."""
    while engine.seq < seq:
        changes = [change for change in feed.changes(engine.seq, BATCH) if change.seq <= seq]
        if not changes:
            raise TierDown("The ledger moved back.")
        engine.apply(condense(changes, dimension))
