"""The hot tier: float32 templates in memory under a FAISS index, whole people only, as many as fit."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import faiss
import numpy as np

from core.config.settings import CachePolicy, IndexType, Settings
from core.domain.faces import Embedding, Embeddings
from core.domain.search import Hit
from core.domain.templates import Change, HotSet, StoredTemplate
from core.store.contract import ChangeFeed, Stale, condense
from core.store.tiers.faiss.budget import capacity_of
from core.store.tiers.faiss.candidate_index import NOWHERE, IndexOptions, Places
from core.store.tiers.faiss.eviction import leaving, standing_for
from core.store.tiers.faiss.id_array import IdArray, Ids
from core.store.tiers.faiss.index_builder import SPARE_ROOM, Finished, Job, moved, roomy
from core.store.tiers.faiss.index_snapshot import IndexSnapshot
from core.store.tiers.faiss.serving import Serving
from core.store.tiers.faiss.vector_table import VectorTable

logger = logging.getLogger("robi.store.faiss")

EVICT_SHARE = 20  # one twentieth of the capacity leaves at a time
REMEMBERED_MATCHES = 10_000
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


class HotTier:
    """Searches may come from any number of threads at any time, and wait for nobody.

    Every other call that changes something is made under the apply lock, `Job.run` without it.
    """

    name = "faiss"

    def __init__(
        self, feed: ChangeFeed, dimension: int, options: HotOptions, called: str = "the hot tier"
    ) -> None:
        """`called` is what logs call it."""
        self._feed = feed
        self._called = called
        self._dimension = dimension
        self._options = options
        self._seq = 0
        self._generation = 0
        self._complete = False
        self._serving = Serving(options.index, VectorTable.with_room(SPARE_ROOM, dimension))
        self._templates = IdArray(np.int32)  # held, by person
        self._standing = standing_for(options.policy)
        self._matched: deque[int] = deque(maxlen=REMEMBERED_MATCHES)
        self._loading: tuple[float, int] | None = None  # share, templates

    @property
    def kind(self) -> str:
        return self._serving.view.kind

    @property
    def seq(self) -> int:
        return self._seq

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def capacity(self) -> int:
        """Most templates that are kept."""
        return self._options.capacity

    @property
    def complete(self) -> bool:
        """Whether every template of the ledger, as of `seq`, is held."""
        return self._complete

    @property
    def settles(self) -> bool:
        """Whether its answer is the whole gallery's: all is held, and the index skips nothing."""
        return self._complete and self._serving.view.thorough

    @property
    def snapshot(self) -> IndexSnapshot:
        """What a search that begins now looks at."""
        return self._serving.view

    @property
    def one_thread(self) -> bool:
        """Whether searches take turns anyway, so that callers do better to share batches."""
        index = self._serving.view.index
        return index is not None and index.one_thread

    @property
    def progress(self) -> float | None:
        """How far loading has come, 0 to 1; None when it is not loading."""
        return None if self._loading is None else self._loading[0]

    @property
    def memory_bytes(self) -> int:
        return self._serving.view.memory_bytes + self._templates.memory_bytes + self._standing.memory_bytes

    @property
    def note(self) -> str | None:
        notes = [self._serving.trouble, *self._serving.sealed.built.notes]
        if self._loading is not None:
            share, templates = self._loading
            notes.insert(0, f"Loading {templates:,} templates, {share:.0%} done.")
        gpu = self._serving.gpu
        if self.degraded:
            why = gpu.missing or "this kind of index runs on the CPU."
            notes.append(f"A GPU was asked for, but FAISS searches on the CPU: {why}")
        elif gpu.lost:
            notes.append(f"FAISS searches on the CPU: {gpu.missing}")
        return " ".join(note for note in notes if note) or None

    @property
    def degraded(self) -> bool:
        """Whether something that was asked for is missing."""
        gpu = self._options.index.gpu
        return gpu is not None and gpu.required and not self.one_thread and bool(self._generation)

    @property
    def gpu_lost(self) -> bool:
        """Whether a GPU was in service, and failed."""
        return self._serving.gpu.lost

    def open(self) -> None:
        if not self._generation:
            self.clear()

    def clear(self) -> None:
        """Load the hot set afresh; searches use the old one until the new one stands."""
        self._loading = (0.0, 0)
        try:
            hot = self._load()
            rows = VectorTable(hot.ids, hot.persons, hot.vectors, hot.count)
            self._complete = self._complete and hot.count == hot.gallery  # before the first search of a part
            self._serving.begin(rows)
            people = hot.persons[: hot.count]
            self._templates = IdArray(np.int32)
            self._templates.increase(people, 1)
            self._standing.warm(people[_firsts(people)])
            self._complete = hot.count == hot.gallery
            self._seq = hot.seq
            self._generation += 1
        finally:
            self._loading = None
        logger.info("loaded %d templates into %s (%s)", self.count(), self._called, self.kind)

    def apply(self, changes: Sequence[Change], *, after: int) -> None:
        if self._seq != after:
            raise Stale("The hot tier was reloaded.")
        batch = condense(changes, self._dimension)
        self._drop(_array(batch.drops))
        ids, persons = _array(batch.ids), _array(batch.persons)
        if self._complete:
            self._add(ids, persons, batch.vectors)  # whoever is not here is new: nothing of theirs is missing
        else:
            known = self._templates.get(persons) > 0
            self._add(ids[known], persons[known], batch.vectors[known])
            self._admit(persons[~known])
        self._standing.touch(persons)
        self._seq = batch.seq
        self._evict()

    def promote(self, persons: Iterable[int]) -> None:
        """Bring whole people in as just recognised. What the ledger no longer has does not come."""
        wanted = _array(sorted(set(persons)))
        strangers = wanted[self._templates.get(wanted) == 0]
        self._admit(strangers)
        self._standing.touch(wanted)
        if len(strangers):
            logger.debug("promoted %d people into the hot tier", len(strangers))
        self._evict()

    def note_match(self, person: int) -> None:
        """Remember a recognised person, from any thread; counts from the next step of the follower."""
        self._matched.append(person)

    def search(self, probes: Embeddings, limit: int, ef: int | None = None) -> list[list[Hit]]:  # noqa: ARG002  it has no graph
        faiss.omp_set_num_threads(self._options.threads)  # per calling thread
        return self._serving.search(probes, limit)

    def count(self) -> int:
        return self._serving.view.rows.count

    def holds(self, template_id: int) -> bool:
        return self._serving.view.rows.place(template_id) != NOWHERE

    def persons_of(self, template_ids: Collection[int]) -> Mapping[int, int]:
        """Whose templates these are, of those that are held; from any thread."""
        return self._serving.view.rows.persons_of(template_ids)

    def held(self, template_ids: Collection[int]) -> Mapping[int, Embedding]:
        return self._serving.view.rows.held(template_ids)

    def ids(self) -> Ids:
        """All templates held, in no order."""
        rows = self._serving.view.rows
        return rows.ids[rows.living()]

    def ping(self) -> None:
        """Nothing to ask: it lives in this process."""

    def retune(self, setting: IndexType, nprobe: int) -> None:
        """Use another kind of index as soon as it is built, and look into so many lists from now on.

        From any thread, without the apply lock; building the other kind is `due` then.
        """
        self._serving.retune(setting, nprobe)

    def maintain(self) -> None:
        """All upkeep that is due, at once; see `due` for doing it in the background."""
        job = self.due()
        if job is not None:
            self.adopt(self.attempt(job))

    def due(self) -> Job | None:
        """Upkeep that is worth doing now; while a job runs, none else may."""
        self._note_matches()
        if not self._complete:
            self._complete = self._holds_all()
        return self._serving.due() if self._generation else None

    def attempt(self, job: Job) -> Finished | None:
        """Do the work, without the apply lock; None if FAISS could not."""
        return self._serving.attempt(job)

    def adopt(self, finished: Finished | None) -> None:
        """Put what was built into service, with what changed meanwhile."""
        self._serving.adopt(finished)

    def close(self) -> None:
        """Let go of the memory; may be called twice."""
        with suppress(MemoryError):  # what it would take for the empty one; then it goes with this object
            self._serving = Serving(self._options.index, VectorTable.with_room(0, self._dimension))
        self._complete = False

    def _load(self) -> HotSet:
        gallery = self._feed.counts().templates
        most = self._options.capacity
        while True:
            expected = min(gallery, most)
            self._loading = (0.0, expected)
            try:
                return self._feed.hot_set(most, spare=roomy(expected) - expected, progress=self._loaded)
            except MemoryError as problem:
                if expected < FEWEST_TO_LOAD:
                    raise
                most = expected // 2
                self._serving.failed(problem, f"At most {most} templates are kept in memory.")
                self._options = replace(self._options, capacity=most)

    def _loaded(self, share: float) -> None:
        self._options.index.pause()
        if self._loading is not None:
            self._loading = (LOADING_SHARE * share, self._loading[1])

    def _holds_all(self) -> bool:
        return self._feed.counts().templates == self.count() and self._feed.head() == self._seq

    def _admit(self, persons: Ids) -> None:
        if len(persons):
            self._take(self._feed.templates_of(set(persons.tolist())))

    def _take(self, templates: Sequence[StoredTemplate]) -> None:
        if templates:
            self._add(
                _array([t.template_id for t in templates]),
                _array([t.person for t in templates]),
                np.stack([t.vector for t in templates]),
            )

    def _add(self, ids: Ids, persons: Ids, vectors: Embeddings) -> None:
        rows = self._serving.view.rows
        new = rows.places(ids) == NOWHERE
        ids, persons, vectors = ids[new], persons[new], vectors[new]
        if not len(ids):
            return
        try:
            rows = self._with_room(rows, len(ids))
            rows.reach(ids)  # all that can fail comes before the first change
            self._templates.reach(persons)
        except MemoryError as problem:
            self._serving.failed(problem, "Newcomers are left to Qdrant.")
            self._complete = False
            self._drop_people(persons)  # whole or not at all
            return
        rows.add(ids, persons, vectors)
        self._templates.increase(persons, 1)
        self._serving.grown(rows)

    def _with_room(self, rows: VectorTable, wanted: int) -> VectorTable:
        """The rows, or a longer copy of them with everything in its place. Raises MemoryError."""
        if wanted <= rows.free:
            return rows
        longer = moved(rows, np.arange(rows.used), roomy(rows.used + wanted))
        longer.drop(np.flatnonzero(~rows.are_alive(np.arange(rows.used))))
        return longer

    def _drop(self, ids: Ids) -> None:
        rows = self._serving.view.rows
        places = rows.places(ids)
        self._drop_places(places[places != NOWHERE])

    def _drop_people(self, persons: Ids) -> None:
        rows = self._serving.view.rows
        places = rows.living()
        self._drop_places(places[np.isin(rows.persons[places], persons)])

    def _drop_places(self, places: Places) -> None:
        rows = self._serving.view.rows
        self._templates.increase(rows.persons[places], -1)
        rows.drop(places)

    def _note_matches(self) -> None:
        matched = [self._matched.popleft() for _ in range(len(self._matched))]
        if matched:
            self._standing.touch(_array(matched))

    def _evict(self) -> None:
        surplus = self.count() - self._options.capacity
        if surplus <= 0:
            return
        self._note_matches()
        rows = self._serving.view.rows
        places = rows.living()
        go = leaving(rows.persons[places], self._standing, surplus + self._options.capacity // EVICT_SHARE)
        self._complete = False
        self._drop_places(places[go])
        logger.debug("evicted %d templates from the hot tier", int(go.sum()))


def _array(numbers: Collection[int]) -> Ids:
    return np.fromiter(numbers, np.int64, len(numbers))


def _firsts(persons: Ids) -> np.ndarray:
    """Where each run of equal numbers begins."""
    return np.flatnonzero(np.diff(persons, prepend=-1))
