"""Building the hot tier's index anew while it serves: decided and adopted under the apply lock, not built.

Four pieces of work: `extend` the index over the tail, `build` another one over the same rows, bring it to a
`gpu` that is to be used and is not, or `compact` the rows themselves, without the dead and with room to grow,
under a new index.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from core.config.settings import IndexType
from core.store.tiers.faiss.candidate_index import Built, CandidateIndex, IndexOptions, Places
from core.store.tiers.faiss.index import build, build_on_gpu, kind_for, notes_of, on_gpu
from core.store.tiers.faiss.index_snapshot import IndexSnapshot
from core.store.tiers.faiss.vector_table import VectorTable

DEAD_SHARE = 0.2  # of the places in use; more is worth moving
FEWEST_DEAD = 1000
FREE_SHARE = 0.1  # of the places; less is worth moving to where there are more
LONGEST_TAIL = 2048  # rows, or
TAIL_SHARE = (
    1 / 64
)  # of the sealed ones, where extending copies the index: that takes as long to compare exactly
GROWTH = 2.0  # since the index was trained; more is worth training anew
SPARE_ROOM = 8192  # places
COPIED_AT_ONCE = 65_536  # rows


class Work(StrEnum):
    EXTEND = "extend"
    BUILD = "build"
    GPU = "gpu"
    COMPACT = "compact"


@dataclass(frozen=True, slots=True, eq=False)
class Sealed:
    """An index over the first rows, as `setting` asked for."""

    built: Built
    rows: int
    trained_on: int
    setting: IndexType = "auto"

    def probing(self, options: IndexOptions) -> Sealed:
        """This one, looking into as many lists as `options` say; and saying what they cannot have yet."""
        if self.built.index is None:
            if kind_for(options.setting, self.trained_on) != "Flat":
                return self
            return replace(self, built=replace(self.built, notes=notes_of("Flat", options, self.trained_on)))
        index = self.built.index.probing(options.nprobe)
        if index is self.built.index:
            return self
        notes = notes_of(self.setting, options, self.trained_on)
        return replace(self, built=replace(self.built, index=index, notes=notes))


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Something to build, and all that is needed for it."""

    work: Work
    view: IndexSnapshot
    options: IndexOptions
    present: Sealed

    def run(self) -> Finished:
        """May take minutes, and needs no lock.

        Raises:
            MemoryError, RuntimeError: it could not be built.
            GpuUnavailable: nor brought to a GPU.
        """
        rows, places = self.view.rows, None
        if self.work is Work.COMPACT:
            places = rows.living()
            places = places[places < self.view.used]
            rows = moved(rows, places, roomy(len(places)))
        if self.work is Work.EXTEND and self.view.index is not None:
            return Finished(self, rows, places, self._extended(self.view.index))
        if self.work is Work.GPU:
            end = whole_bytes(self.view.used)
            return Finished(
                self,
                rows,
                places,
                Sealed(build_on_gpu(self.options, rows.vectors[:end]), end, end, self.options.setting),
            )
        used = self.view.used if places is None else len(places)
        return Finished(self, rows, places, seal(self.options, rows, used))

    def _extended(self, index: CandidateIndex) -> Sealed:
        end = whole_bytes(self.view.used)
        longer = index.extended(self.view.rows.vectors[index.size : end])
        built = replace(self.present.built, index=longer, gpu_missing=None)  # that was said when it was built
        return replace(self.present, built=built, rows=end)


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """What a job has built; `moved` are the places its rows came from, None where they stayed."""

    job: Job
    rows: VectorTable
    moved: Places | None
    sealed: Sealed

    def catch_up(self) -> IndexSnapshot:
        """Under the apply lock: the view that takes the present one's place, with what changed meanwhile."""
        old = self.job.view.rows
        if self.moved is not None:
            self.rows.drop(np.flatnonzero(~old.are_alive(self.moved)))
            since = np.arange(self.job.view.used, old.used)
            since = since[old.are_alive(since)]
            if len(since) > self.rows.free:
                raise MemoryError("more was added meanwhile than there is room for")
            self.rows.add(old.ids[since], old.persons[since], old.vectors[since])
        return IndexSnapshot(self.rows, self.rows.used, self.sealed.built.index, self.sealed.rows)


def seal(options: IndexOptions, rows: VectorTable, used: int) -> Sealed:
    """An index over the first rows, as many of `used` as fill whole bytes of their bitmap.

    Raises:
        MemoryError, RuntimeError: FAISS could not.
    """
    end = whole_bytes(used)
    built = build(options, rows.vectors[:end])
    return Sealed(built, end if built.index is not None else 0, end, options.setting)


def moved(rows: VectorTable, places: Places, room: int) -> VectorTable:
    """Copies of these rows, with `room` places in all. Raises MemoryError."""
    fresh = VectorTable.with_room(room, rows.vectors.shape[1])
    for start in range(0, len(places), COPIED_AT_ONCE):
        part = places[start : start + COPIED_AT_ONCE]
        fresh.add(rows.ids[part], rows.persons[part], rows.vectors[part])
    return fresh


def roomy(count: int) -> int:
    """Places for so many rows and half as many again."""
    return count + count // 2 + SPARE_ROOM


def whole_bytes(rows: int) -> int:
    return rows & ~7


def next_job(view: IndexSnapshot, options: IndexOptions, present: Sealed) -> Job | None:
    """What is worth doing now, if anything."""
    rows = view.rows
    if rows.dead > max(FEWEST_DEAD, DEAD_SHARE * rows.used) or rows.free < FREE_SHARE * rows.room:
        return Job(Work.COMPACT, view, options, present)
    if on_gpu(options, view.used, rows.vectors.shape[1]) and not on_card(view):
        return Job(Work.GPU, view, options, present)
    if view.index is not None and present.setting != options.setting and not _as_good(view, options):
        return Job(Work.BUILD, view, options, present)
    if view.index is None:
        return Job(Work.BUILD, view, options, present) if _worth_one(options, rows) else None
    if present.built.trained and rows.count > GROWTH * present.trained_on:
        return Job(Work.BUILD, view, options, present)
    if view.used - view.sealed > longest_tail(view.index, view.sealed):
        return Job(Work.EXTEND, view, options, present)
    return None


def _as_good(view: IndexSnapshot, options: IndexOptions) -> bool:
    """Whether another setting comes to the index that is there: all that a card has is the exact one."""
    return on_card(view) and on_gpu(options, view.used, view.rows.vectors.shape[1])


def _worth_one(options: IndexOptions, rows: VectorTable) -> bool:
    return kind_for(options.setting, rows.count) != "Flat"


def longest_tail(index: CandidateIndex, sealed: int) -> float:
    """Rows beside the index from which it is extended."""
    return LONGEST_TAIL if index.in_place else max(LONGEST_TAIL, TAIL_SHARE * sealed)


def on_card(view: IndexSnapshot) -> bool:
    return view.index is not None and view.index.one_thread
