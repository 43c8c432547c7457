"""Building the hot tier's index anew while it serves: decided and adopted under the apply lock, not built.

Four pieces of work: `extend` the index over the tail, `build` another one over the same rows, bring it to a
`gpu` that is to be used and is not, or `compact` the rows themselves, without the dead and with room to grow,
under a new index.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from core.config.settings import IndexType
from core.store.tiers.faiss.candidate_index import (
    CandidateIndex,
    GpuLost,
    GpuUnavailable,
    IndexOptions,
    Places,
)
from core.store.tiers.faiss.gpu.use import GpuUse
from core.store.tiers.faiss.index import build, build_on_gpu, kind_for, on_gpu
from core.store.tiers.faiss.index_snapshot import UNSEALED, IndexSnapshot, Sealed
from core.store.tiers.faiss.vector_table import VectorTable, roomy

logger = logging.getLogger("robi.store.faiss")

RETRY_SECONDS = 60.0  # after FAISS failed to build an index
DEAD_SHARE = 0.2  # of the places in use; more is worth moving
FEWEST_DEAD = 1000
FREE_SHARE = 0.1  # of the places; less is worth moving to where there are more
LONGEST_TAIL = 2048  # rows, or, where extending copies the index,
TAIL_SHARE = 1 / 64  # of the sealed ones: that takes as long to compare exactly
GROWTH = 2.0  # since the index was trained; more is worth training anew


class Work(StrEnum):
    EXTEND = "extend"
    BUILD = "build"
    GPU = "gpu"
    COMPACT = "compact"


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Something to build, and all that is needed for it."""

    work: Work
    snapshot: IndexSnapshot
    options: IndexOptions

    def run(self) -> Outcome:
        """May take minutes, and needs no lock."""
        try:
            return self._build()
        except (GpuUnavailable, RuntimeError, MemoryError) as problem:
            return Failed(self, problem)

    def _build(self) -> Finished:
        rows, index = self.snapshot.rows, self.snapshot.index
        if self.work is Work.COMPACT:
            places = rows.living()
            places = places[places < self.snapshot.used]
            rows = rows.copied(places, roomy(len(places)))
            return Finished(self, rows, places, seal(self.options, rows, len(places)))
        if self.work is Work.EXTEND and index is not None:
            sealed = self._extended(index)
        elif self.work is Work.GPU:
            end = whole_bytes(self.snapshot.used)
            sealed = Sealed(build_on_gpu(self.options, rows.vectors[:end]), end, end, self.options.setting)
        else:
            sealed = seal(self.options, rows, self.snapshot.used)
        return Finished(self, rows, None, sealed)

    def _extended(self, index: CandidateIndex) -> Sealed:
        end = whole_bytes(self.snapshot.used)
        present = self.snapshot.sealed
        longer = index.extended(self.snapshot.rows.vectors[index.size : end])
        built = replace(present.built, index=longer, gpu_missing=None)  # that was said when it was built
        return replace(present, built=built, rows=end)


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """What a job has built; `moved` are the places its rows came from, None where they stayed."""

    job: Job
    rows: VectorTable
    moved: Places | None
    sealed: Sealed

    def catch_up(self, complete: bool) -> IndexSnapshot:
        """Under the apply lock: the snapshot to serve, with what changed meanwhile. Raises MemoryError."""
        before = self.job.snapshot
        if self.moved is not None:
            self.rows.drop(np.flatnonzero(~before.rows.are_alive(self.moved)))
            since = np.arange(before.used, before.rows.used)
            since = since[before.rows.are_alive(since)]
            if len(since) > self.rows.free:
                raise MemoryError("more was added meanwhile than there is room for")
            self.rows.add(before.rows.ids[since], before.rows.persons[since], before.rows.vectors[since])
        return IndexSnapshot(self.rows, self.rows.used, self.sealed, complete)


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """A job that came to nothing."""

    job: Job
    problem: Exception


Outcome = Finished | Failed


class IndexBuilder:
    """What index the rows are to have, and what is known of building it: to be tried again, and when.

    Called under the apply lock, but for `retune` and `lost`, which come from any thread.
    """

    def __init__(self, options: IndexOptions, clock: Callable[[], float]) -> None:
        self.options = options
        self.trouble: str | None = None  # what does not work, and what does instead, for operators
        self.gpu = GpuUse(clock)
        self._clock = clock
        self._retry_at = 0.0

    def first(self, rows: VectorTable, *, complete: bool) -> IndexSnapshot:
        """Other rows altogether, under an index of their own; without one if FAISS cannot build it."""
        try:
            sealed = seal(self.options, rows, rows.used)
        except (RuntimeError, MemoryError) as problem:
            self.failed(problem, "An exact scan serves until then.")
            sealed = UNSEALED
        snapshot = IndexSnapshot(rows, rows.used, sealed, complete)
        self._judge_gpu(snapshot)
        return snapshot

    def retune(self, setting: IndexType, nprobe: int) -> None:
        self.options = replace(self.options, setting=setting, nprobe=nprobe)
        self._retry_at = 0.0

    def due(self, snapshot: IndexSnapshot) -> Job | None:
        """What is worth building now."""
        if self._clock() < self._retry_at:
            return None
        return next_job(snapshot, self.options if self.gpu.due else replace(self.options, gpu=None))

    def adopted(self, outcome: Outcome, present: IndexSnapshot) -> IndexSnapshot:
        """The snapshot to serve from now on: what was built, or the present one if that came to nothing."""
        if isinstance(outcome, Failed):
            return self._without(outcome, present)
        if outcome.job.snapshot.rows is not present.rows:
            return present  # they have been replaced meanwhile
        try:
            snapshot = outcome.catch_up(present.complete)
        except MemoryError as problem:
            self.failed(problem, f"The present index ({present.kind}) goes on.")
            return present
        self.trouble = None
        self._judge_gpu(snapshot)
        logger.debug("%s: %s over %d templates", outcome.job.work, snapshot.kind, snapshot.rows.count)
        return snapshot

    def lost(self, problem: Exception) -> None:
        """The index itself has failed; without its GPU the gallery is at once worth another one."""
        if isinstance(problem, GpuLost):
            logger.warning("%s The CPU serves until it is back.", problem)
            self.gpu.failed(str(problem))
        else:
            self.failed(problem, "An exact scan serves until the index is built again.")

    def failed(self, problem: Exception, meanwhile: str) -> None:
        """Say what does not work and what does instead."""
        logger.warning("FAISS failed (%s): %s", type(problem).__name__, meanwhile)
        logger.debug("FAISS failed", exc_info=problem)
        why = "for want of memory" if isinstance(problem, MemoryError) else "with an error"
        self.trouble = f"FAISS failed {why}; it is tried again. {meanwhile}"
        self._retry_at = self._clock() + RETRY_SECONDS

    def _without(self, outcome: Failed, present: IndexSnapshot) -> IndexSnapshot:
        problem = outcome.problem
        if isinstance(problem, GpuUnavailable):
            logger.debug("no GPU yet: %s", problem)
            self.gpu.refused(str(problem))
        elif isinstance(problem, GpuLost):
            self.lost(problem)
            return present.without(outcome.job.snapshot.index)
        else:
            self.failed(problem, f"The present index ({present.kind}) goes on.")
        return present

    def _judge_gpu(self, snapshot: IndexSnapshot) -> None:
        missing = snapshot.sealed.built.gpu_missing
        if missing is not None:
            self.gpu.refused(missing)
        elif snapshot.one_thread:
            self.gpu.works()


def seal(options: IndexOptions, rows: VectorTable, used: int) -> Sealed:
    """An index over the first rows, as many of `used` as fill whole bytes of their bitmap.

    Raises:
        MemoryError, RuntimeError: FAISS could not.
    """
    end = whole_bytes(used)
    built = build(options, rows.vectors[:end])
    return Sealed(built, end if built.index is not None else 0, end, options.setting)


def whole_bytes(rows: int) -> int:
    return rows & ~7


def next_job(snapshot: IndexSnapshot, options: IndexOptions) -> Job | None:
    """What is worth doing now, if anything."""
    work = _next_work(snapshot, options)
    return Job(work, snapshot, options) if work is not None else None


def _next_work(snapshot: IndexSnapshot, options: IndexOptions) -> Work | None:
    rows, index, sealed = snapshot.rows, snapshot.index, snapshot.sealed
    wants_gpu = on_gpu(options, snapshot.used, rows.vectors.shape[1])
    if rows.dead > max(FEWEST_DEAD, DEAD_SHARE * rows.used) or rows.free < FREE_SHARE * rows.room:
        return Work.COMPACT
    if wants_gpu and not snapshot.one_thread:
        return Work.GPU
    if index is None:
        return Work.BUILD if kind_for(options.setting, rows.count) != "Flat" else None
    as_good = wants_gpu and snapshot.one_thread  # all that a card has is the exact one
    if sealed.setting != options.setting and not as_good:
        return Work.BUILD
    if sealed.built.trained and rows.count > GROWTH * sealed.trained_on:
        return Work.BUILD
    return Work.EXTEND if snapshot.used - sealed.rows > longest_tail(index, sealed.rows) else None


def longest_tail(index: CandidateIndex, sealed: int) -> float:
    """Rows beside the index from which it is extended."""
    return LONGEST_TAIL if index.in_place else max(LONGEST_TAIL, TAIL_SHARE * sealed)
