"""The hot tier: float32 templates in memory under a FAISS index, whole people only, as many as fit."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import faiss
import numpy as np

from core.config.settings import CachePolicy, IndexType, Settings
from core.domain.faces import Embedding, Embeddings
from core.domain.search import Hit
from core.domain.templates import Change, HotSet
from core.store.contract import ChangeFeed, Stale, condense
from core.store.tiers.faiss.budget import capacity_of
from core.store.tiers.faiss.candidate_index import NOWHERE, IndexOptions
from core.store.tiers.faiss.eviction import leaving, policy_for
from core.store.tiers.faiss.id_array import Ids
from core.store.tiers.faiss.index_builder import IndexBuilder, Job, Outcome
from core.store.tiers.faiss.index_snapshot import IndexSnapshot
from core.store.tiers.faiss.vector_table import SPARE_ROOM, VectorTable, roomy

logger = logging.getLogger("robi.store.faiss")

EVICT_SHARE = 20  # one twentieth of the capacity leaves at a time
LOADING_SHARE = 0.9  # of the time that getting ready takes; the rest is the index
FEWEST_TO_LOAD = 1000  # templates; less memory than that is not worth a cache


@dataclass(frozen=True, slots=True)
class HotOptions:
    index: IndexOptions
    capacity: int  # templates
    threads: int = 1
    policy: CachePolicy = "lru"

    @classmethod
    def of(cls, settings: Settings, dimension: int) -> HotOptions:
        return cls(
            index=IndexOptions.of(settings),
            capacity=capacity_of(settings, dimension),
            threads=max(1, (os.cpu_count() or 2) // 2),  # the cold tier works at the same time
            policy=settings.faiss_cache_policy,
        )


@dataclass(frozen=True, slots=True)
class HotState:
    memory_bytes: int
    capacity: int  # templates, at most
    on_gpu: bool
    wants_gpu: bool  # it was to be on one, or was


class HotTier:
    """Searches may come from any number of threads at any time, and wait for nobody: each looks at the
    `snapshot` that is there when it begins.

    Every other call that changes something is made under the apply lock, `Job.run` without it.
    """

    name = "faiss"

    def __init__(
        self,
        feed: ChangeFeed,
        dimension: int,
        options: HotOptions,
        called: str = "the hot tier",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`called` is what logs call it; by `clock` (seconds) it waits before it tries again what failed."""
        self._feed = feed
        self._called = called
        self._dimension = dimension
        self._options = options
        self.seq = 0
        self.generation = 0
        self._loading = 0  # templates, while it is
        self.progress: float | None = None
        self.policy = policy_for(options.policy)
        self._builder = IndexBuilder(options.index, clock)
        self._swapping = threading.Lock()  # held for one assignment
        self.snapshot = _empty(SPARE_ROOM, dimension)

    @property
    def kind(self) -> str:
        return self.snapshot.kind

    @property
    def complete(self) -> bool:
        return self.snapshot.complete

    @property
    def state(self) -> HotState:
        snapshot = self.snapshot
        return HotState(
            memory_bytes=snapshot.memory_bytes + self.policy.memory_bytes,
            capacity=self._options.capacity,
            on_gpu=snapshot.one_thread,
            wants_gpu=snapshot.one_thread or self.degraded or self._builder.gpu.lost,
        )

    @property
    def note(self) -> str | None:
        gpu = self._builder.gpu.note(missed=self.degraded)
        notes = [self._builder.trouble, *self.snapshot.sealed.built.notes, gpu]
        if self.progress is not None:
            notes.insert(0, f"Loading {self._loading:,} templates, {self.progress:.0%} done.")
        return " ".join(note for note in notes if note) or None

    @property
    def degraded(self) -> bool:
        gpu = self._options.index.gpu
        return gpu is not None and gpu.required and not self.snapshot.one_thread and bool(self.generation)

    def open(self) -> None:
        if not self.generation:
            self.load()

    def clear(self) -> None:
        """Searches use what is there until what is loaded afresh takes its place."""
        self.load()

    def load(self) -> None:
        """Load the hot set from the ledger; `seq` is that of the ledger then."""
        self.progress = 0.0
        try:
            hot = self._read()
            rows = VectorTable(hot.ids, hot.persons, hot.vectors, hot.count)
            self._serve(self._builder.first(rows, complete=hot.count == hot.gallery))
            people = hot.persons[: hot.count]
            self.policy.warm(people[np.flatnonzero(np.diff(people, prepend=-1))])  # each once
            self.seq = hot.seq
            self.generation += 1
        finally:
            self.progress = None
        logger.info("loaded %d templates into %s (%s)", self.count(), self._called, self.kind)

    def apply(self, changes: Sequence[Change], *, after: int) -> None:
        if self.seq != after:
            raise Stale("The hot tier was reloaded.")
        batch = condense(changes, self._dimension)
        rows = self.snapshot.rows
        gone = rows.places(_array(batch.drops))
        rows.drop(gone[gone != NOWHERE])
        ids, persons = _array(batch.ids), _array(batch.persons)
        if self.complete:
            self._add(ids, persons, batch.vectors)  # whoever is not here is new: nothing of theirs is missing
        else:
            known = rows.knows(persons)
            self._add(ids[known], persons[known], batch.vectors[known])
            self._admit(persons[~known])
        self.policy.touch(persons)
        self.seq = batch.seq
        self._evict()

    def promote(self, persons: Iterable[int]) -> None:
        """Bring whole people in as just recognised. What the ledger no longer has does not come."""
        wanted = _array(sorted(set(persons)))
        strangers = wanted[~self.snapshot.rows.knows(wanted)]
        self._admit(strangers)
        self.policy.touch(wanted)
        if len(strangers):
            logger.debug("promoted %d people into the hot tier", len(strangers))
        self._evict()

    def search(self, probes: Embeddings, limit: int, ef: int | None = None) -> list[list[Hit]]:  # noqa: ARG002  it has no graph
        faiss.omp_set_num_threads(self._options.threads)  # per calling thread
        snapshot = self.snapshot
        try:
            return snapshot.search(probes, limit)
        except (RuntimeError, MemoryError) as problem:
            if snapshot.index is None:
                raise
            self._builder.lost(problem)
            self._swap(lambda present: present.without(snapshot.index))
            return self.snapshot.search(probes, limit)

    def count(self) -> int:
        return self.snapshot.rows.count

    def held(self, template_ids: Collection[int]) -> Mapping[int, Embedding]:
        return self.snapshot.rows.held(template_ids)

    def ids(self) -> Ids:
        rows = self.snapshot.rows
        return rows.ids[rows.living()]

    def ping(self) -> None:
        """Nothing to ask: it lives in this process."""

    def retune(self, setting: IndexType, nprobe: int) -> None:
        """Use another kind of index as soon as it is built, and look into so many lists from now on.

        From any thread, without the apply lock; building the other kind is `due` then.
        """
        self._builder.retune(setting, nprobe)
        self._swap(lambda present: present.probing(self._builder.options))

    def due(self) -> Job | None:
        """What is worth building now, in the background; while one job runs, no other may."""
        self.policy.count_noted()
        if not self.generation:
            return None
        if not self.complete:
            everything = self._feed.counts().templates == self.count() and self._feed.head() == self.seq
            self._mark(complete=everything)
        return self._builder.due(self.snapshot)

    def adopt(self, outcome: Outcome) -> None:
        """Put what a job has built into service, with what changed meanwhile; or note why it has not."""
        present = self.snapshot
        adopted = self._builder.adopted(outcome, present)
        if adopted is not present:
            self._serve(adopted)

    def close(self) -> None:
        with suppress(MemoryError):  # what it would take for the empty one; then it goes with this object
            self._serve(_empty(0, self._dimension))

    def _read(self) -> HotSet:
        gallery = self._feed.counts().templates
        while True:
            most = self._options.capacity
            self._loading = min(gallery, most)
            try:
                spare = roomy(self._loading) - self._loading
                return self._feed.hot_set(most, spare=spare, progress=self._loaded)
            except MemoryError as problem:
                if self._loading < FEWEST_TO_LOAD:
                    raise
                most = self._loading // 2
                self._builder.failed(problem, f"At most {most} templates are kept in memory.")
                self._options = replace(self._options, capacity=most)

    def _loaded(self, share: float) -> None:
        self._options.index.pause()
        self.progress = LOADING_SHARE * share

    def _serve(self, snapshot: IndexSnapshot) -> None:
        self._swap(lambda _: snapshot.probing(self._builder.options))  # it may have been retuned meanwhile

    def _swap(self, change: Callable[[IndexSnapshot], IndexSnapshot]) -> None:
        with self._swapping:
            self.snapshot = change(self.snapshot)

    def _mark(self, *, complete: bool) -> None:
        self._swap(lambda present: replace(present, complete=complete))

    def _admit(self, persons: Ids) -> None:
        templates = self._feed.templates_of(set(persons.tolist())) if len(persons) else ()
        if templates:
            ids, owners = [t.template_id for t in templates], [t.person for t in templates]
            self._add(_array(ids), _array(owners), np.stack([t.vector for t in templates]))

    def _add(self, ids: Ids, persons: Ids, vectors: Embeddings) -> None:
        rows = self.snapshot.rows
        new = rows.places(ids) == NOWHERE
        ids, persons, vectors = ids[new], persons[new], vectors[new]
        if not len(ids):
            return
        try:
            rows = rows.reaching(ids, persons)  # all that can fail comes before the first change
        except MemoryError as problem:
            self._builder.failed(problem, "Newcomers are left to Qdrant.")
            self._mark(complete=False)
            places = rows.living()
            rows.drop(places[np.isin(rows.persons[places], persons)])  # whole or not at all
            return
        rows.add(ids, persons, vectors)
        self._swap(lambda present: present.grown(rows))

    def _evict(self) -> None:
        surplus = self.count() - self._options.capacity
        if surplus <= 0:
            return
        rows = self.snapshot.rows
        places = rows.living()
        go = leaving(rows.persons[places], self.policy, surplus + self._options.capacity // EVICT_SHARE)
        self._mark(complete=False)
        rows.drop(places[go])
        logger.debug("evicted %d templates from the hot tier", int(go.sum()))


def _empty(room: int, dimension: int) -> IndexSnapshot:
    """Raises MemoryError."""
    return IndexSnapshot(VectorTable.with_room(room, dimension), 0)


def _array(numbers: Collection[int]) -> Ids:
    return np.fromiter(numbers, np.int64, len(numbers))
