"""The cold tier inside this machine: Qdrant Edge in a supervised child, and the next one built beside it."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.domain.faces import Embedding, Embeddings
from core.domain.json_values import Json
from core.domain.search import Hit
from core.domain.templates import Change
from core.runtime import disk
from core.store.contract import MARKER_ID, CannotRenew, ChangeFeed, Stale, TierDown, Traces, condense
from core.store.tiers.edge.builder import INDEX_FROM, Build, BuildCancelled, apply_until, due, leave_within
from core.store.tiers.edge.engine import APPLY_SECONDS, LOAD_SECONDS, EdgeEngine, Record
from core.store.tiers.edge.generations import Generations
from core.store.tiers.edge.schedule import BuildSchedule
from core.store.tiers.edge.wire import SEARCH_EF

logger = logging.getLogger("robi.store.edge")

SEARCH_SECONDS = 2.0  # for anything small, plus what a slow scan of the vectors takes:
SCAN_SECONDS = 1e-9  # per number compared
ROOM = 5  # times the vectors' own size: log, vectors, and both again while the graph is built
CLOSE_SECONDS = 5.0  # for a build to notice


class QdrantEdgeTier:
    """Thread-safe; requests are answered one at a time, by one child.

    A child that dies or misses its deadline is replaced at once. With a `feed`, `maintain` and `renew` build
    new generations of the data beside the present one; without, there is neither graph nor tidying up.
    """

    complete = True
    degraded = False
    progress: float | None = None
    name = "qdrant"
    kind = "edge"

    def __init__(
        self,
        directory: Path,
        dimension: int,
        *,
        feed: ChangeFeed | None = None,
        search_seconds: float = SEARCH_SECONDS,
        index_from: int = INDEX_FROM,
    ) -> None:
        self._generations = Generations(directory)
        self._dimension = dimension
        self._feed = feed
        self._search_seconds = search_seconds
        self._index_from = index_from
        self._record = Record()
        self._writes = threading.Lock()  # held, before the other, by whoever changes content or engine
        self._lock = threading.Lock()  # held for one request to the engine
        self._building = threading.Lock()  # held for as long as a build takes
        self._closing = threading.Event()
        self._engine = self._new_engine(self._generations.current())
        self._swept = False
        self._starts_before = 0  # of engines that this one succeeded
        self._points = 0  # when last counted
        self._build: Build | None = None
        self._builds = 0
        self._schedule = BuildSchedule(self._closing.is_set)
        self._put_off: str | None = None

    @property
    def seq(self) -> int:
        return self._engine.seq

    @property
    def generation(self) -> int:
        return self._starts_before + self._engine.starts

    @property
    def note(self) -> str | None:
        if self._record.set_aside:
            return "The Qdrant directory was unreadable. It was set aside and rebuilt from the ledger."
        return None

    @property
    def pid(self) -> int | None:
        """Of the child that answers, for monitoring."""
        return self._engine.pid

    @property
    def builder_pid(self) -> int | None:
        """Of the child that builds the next generation."""
        build = self._build
        return build.pid if build else None

    def open(self) -> None:
        with self._writing(LOAD_SECONDS), self._exclusive(LOAD_SECONDS):
            if self._engine.running:
                return
            if not self._swept:
                self._engine = self._new_engine(self._generations.current())
            self._engine.start()
            if not self._swept:
                self._generations.sweep(self._engine.directory)
                self._swept = True

    def apply(self, changes: Sequence[Change], *, after: int) -> None:
        batch = condense(changes, self._dimension)
        with self._writing(APPLY_SECONDS), self._exclusive(APPLY_SECONDS):
            if self.seq != after:
                raise Stale("The Edge engine was reopened at another position.")
            self._engine.apply(batch)

    def search(self, probes: Embeddings, limit: int, ef: int | None = None) -> list[list[Hit]]:
        deadline = self._search_seconds + SCAN_SECONDS * probes.size * self._points
        with self._exclusive(deadline):
            return self._engine.search(probes, limit, ef or SEARCH_EF, deadline)

    def count(self) -> int:
        with self._exclusive(self._search_seconds):
            self._points = self._engine.count(self._search_seconds)
            return self._points

    def ping(self) -> None:
        self.count()

    def held(self, template_ids: Collection[int]) -> Mapping[int, Embedding]:
        with self._exclusive(self._search_seconds):
            return self._engine.held(template_ids, self._search_seconds)

    def ids(self) -> NDArray[np.int64]:
        parts, last = [np.empty(0, np.int64)], MARKER_ID
        while True:
            with self._exclusive(self._search_seconds):
                part = self._engine.ids_after(last, self._search_seconds)
            if not len(part):
                return np.concatenate(parts)
            parts.append(part)
            last = int(part[-1])

    def clear(self) -> None:
        with self._writing(LOAD_SECONDS), self._exclusive(LOAD_SECONDS):
            directory = self._engine.directory
            self._engine.kill()
            self._generations.retire(directory)
            self._succeed(self._new_engine(directory))
            self._engine.start()

    def maintain(self) -> None:
        """Begin a new generation in the background when one is due."""
        if self._feed is None or self._building.locked() or not self._schedule.look():
            return
        if reason := self._due():
            threading.Thread(
                target=self._build_behind, args=(reason,), name="edge-builder", daemon=True
            ).start()

    def renew(self) -> None:
        builds = self._builds
        with self._building:
            if self._builds != builds:
                return  # one that began before has just ended: it is as good
            try:
                self._build_now("asked for")
            except BuildCancelled:
                raise TierDown("The Edge engine is closed.") from None

    def info(self) -> Mapping[str, Json]:
        with self._exclusive(self._search_seconds):
            found = self._engine.info(self._search_seconds)
        build, indexed = self._build, max(0, int(found["indexed"]) - 1)  # one of them is the marker
        return {
            "segments": int(found["segments"]),
            "index": f"HNSW over {indexed} points" if indexed else "none: exact scan of all points",
            "building": f"{build.percent} %" if build else None,
            "put_off": self._put_off,
            "erased": int(found["dropped"]),
            "retries": 0,
            "restarts": self._record.restarts,
            "errors": self._record.errors,
        }

    def traces(self) -> Traces:
        with self._exclusive(self._search_seconds):
            found = self._engine.info(self._search_seconds)
            points = self._engine.count(self._search_seconds)
            others = self._generations.others(self._engine.directory)
        if not found["dropped"] and not others:
            return Traces(there=False)
        if self._feed is None or self._put_off or self._schedule.failures:
            return Traces(there=True)  # nobody knows when a build will succeed
        left = max(0.0, leave_within(points, self._index_from) - found["dropped_for"])
        return Traces(there=True, gone_by=datetime.now(UTC) + timedelta(seconds=left))

    def close(self) -> None:
        self._closing.set()  # before the locks: whoever waits for a locked directory, or builds, gives up
        if self._building.acquire(timeout=CLOSE_SECONDS):
            self._building.release()
        with self._lock:
            self._engine.close()

    # ------------------------------------------------------------ generations

    def _due(self) -> str | None:
        points = self.count()
        with self._exclusive(self._search_seconds):
            found = self._engine.info(self._search_seconds)
        return due(points, found, self._index_from)

    def _build_behind(self, reason: str) -> None:
        if not self._building.acquire(blocking=False):
            return
        try:
            self._schedule.attempt(lambda: self._build_now(reason))
        finally:
            self._building.release()

    def _build_now(self, reason: str) -> None:
        if self._feed is None:
            raise CannotRenew("The Edge engine was opened without a ledger to build from.")
        self._check_room(self._feed.counts().templates)
        logger.info("building a new generation of the Edge engine: %s", reason)
        started = time.monotonic()
        directory = self._generations.next()
        self._build = Build(
            directory, self._dimension, self._feed, self._record, self._closing, index_from=self._index_from
        )
        try:
            self._build.run(self._hand_over)
        finally:
            self._build = None
        self._builds += 1
        logger.info("%s answers now, built in %.1f s", directory.name, time.monotonic() - started)

    def _check_room(self, templates: int) -> None:
        needed = ROOM * 4 * self._dimension * templates + disk.ROOM_BYTES
        self._put_off = None
        if disk.free_bytes(self._generations.root) < needed:
            self._put_off = f"It needs {needed >> 20} MB of free disk space to build a new generation."
            raise CannotRenew(self._put_off)

    def _hand_over(self, engine: EdgeEngine) -> None:
        """Let a checked engine answer from now on. Searches never wait for more than the exchange itself."""
        assert self._feed is not None  # noqa: S101  there would be no build
        with self._writing(APPLY_SECONDS):
            apply_until(engine, self._feed, self._dimension, self.seq)
            with self._exclusive(APPLY_SECONDS):
                old = self._engine
                self._succeed(engine)
                self._starts_before -= engine.starts  # checked already: not to be taken for newly opened
        old.kill()
        self._generations.retire(old.directory)
        self._generations.sweep(engine.directory)  # a leftover below it would count at the next start
        shutil.rmtree(self._generations.aside, ignore_errors=True)  # it may hold people who were erased since

    def _succeed(self, engine: EdgeEngine) -> None:
        self._starts_before += self._engine.starts
        self._engine = engine

    def _new_engine(self, directory: Path) -> EdgeEngine:
        aside, closed = self._generations.aside, self._closing.is_set
        return EdgeEngine(directory, self._dimension, self._record, aside=aside, closed=closed)

    # ------------------------------------------------------------ one at a time

    def _writing(self, seconds: float) -> AbstractContextManager[None]:
        return self._holding(self._writes, seconds)

    def _exclusive(self, seconds: float) -> AbstractContextManager[None]:
        return self._holding(self._lock, seconds)

    @contextmanager
    def _holding(self, lock: threading.Lock, seconds: float) -> Iterator[None]:
        if not lock.acquire(timeout=seconds):
            raise TierDown("The Edge engine is busy.")
        try:
            if self._closing.is_set():
                raise TierDown("The Edge engine is closed.")
            yield
        finally:
            lock.release()
