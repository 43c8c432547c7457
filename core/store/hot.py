"""The hot tier: float32 templates in memory under a FAISS index, whole people only, as many as fit."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import faiss
import numpy as np

from core.config import CachePolicy, Settings
from core.store.budget import capacity_of
from core.store.cold import Stale, condense
from core.store.feed import ChangeFeed
from core.store.index import NOWHERE, Built, IndexOptions, Places
from core.store.slots import Rows
from core.store.standing import leaving, standing_for
from core.store.tables import Ids, Table
from core.store.upkeep import SPARE_ROOM, Finished, Job, Sealed, moved, next_job, roomy, seal
from core.store.view import View
from core.types import Change, Embedding, Embeddings, Hit, HotSet, StoredTemplate

logger = logging.getLogger("robi.store.faiss")

EVICT_SHARE = 20  # one twentieth of the capacity leaves at a time
REMEMBERED_MATCHES = 10_000
RETRY_SECONDS = 60.0  # after FAISS failed to build an index
LOADING_SHARE = 0.9  # of the time that getting ready takes; the rest is the index
FEWEST_TO_LOAD = 1000  # templates; less memory than that is not worth a cache

NOTHING = Sealed(Built(None), 0, 0)


@dataclass(frozen=True, slots=True)
class HotOptions:
    index: IndexOptions
    capacity: int  # templates
    threads: int = 1
    policy: CachePolicy = "lru"
    gpu_required: bool = False

    @classmethod
    def of(cls, settings: Settings, dimension: int) -> HotOptions:
        return cls(
            index=IndexOptions.of(settings),
            capacity=capacity_of(settings, dimension),
            threads=max(1, (os.cpu_count() or 2) // 2),  # the cold tier works at the same time
            policy=settings.faiss_cache_policy,
            gpu_required=settings.use_gpu == "true",
        )


class HotTier:
    """Searches may come from any number of threads at any time, and wait for nobody.

    Every other call that changes something is made under the apply lock, `Job.run` without it.
    """

    name = "faiss"

    def __init__(self, feed: ChangeFeed, dimension: int, options: HotOptions) -> None:
        self._feed = feed
        self._dimension = dimension
        self._options = options
        self._seq = 0
        self._generation = 0
        self._complete = False
        self._view = View(Rows.with_room(SPARE_ROOM, dimension), 0)
        self._publishing = threading.Lock()  # held for one assignment
        self._sealed = NOTHING
        self._templates = Table(np.int32)  # held, by person
        self._standing = standing_for(options.policy)
        self._matched: deque[int] = deque(maxlen=REMEMBERED_MATCHES)
        self._loading: tuple[float, int] | None = None  # share, templates
        self._trouble: str | None = None
        self._retry_at = 0.0

    @property
    def kind(self) -> str:
        return self._view.kind

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
        return self._complete and self._view.thorough

    @property
    def one_thread(self) -> bool:
        """Whether searches take turns anyway, so that callers do better to share batches."""
        index = self._view.index
        return index is not None and index.one_thread

    @property
    def progress(self) -> float | None:
        """How far loading has come, 0 to 1; None when it is not loading."""
        return None if self._loading is None else self._loading[0]

    @property
    def memory_bytes(self) -> int:
        return self._view.memory_bytes + self._templates.memory_bytes + self._standing.memory_bytes

    @property
    def note(self) -> str | None:
        notes = [self._trouble, *self._sealed.built.notes]
        if self._loading is not None:
            share, templates = self._loading
            notes.insert(0, f"Loading {templates} templates, {share:.0%} done.")
        if self.degraded:
            why = self._sealed.built.gpu_missing or "this kind of index runs on the CPU"
            notes.append(f"A GPU was asked for, but FAISS searches on the CPU: {why}")
        return " ".join(note for note in notes if note) or None

    @property
    def degraded(self) -> bool:
        """Whether something that was asked for is missing."""
        return self._options.gpu_required and not self.one_thread and bool(self._generation)

    def open(self) -> None:
        if not self._generation:
            self.clear()

    def clear(self) -> None:
        """Load the hot set afresh; searches use the old one until the new one stands."""
        self._loading = (0.0, 0)
        try:
            hot = self._load()
            rows = Rows(hot.ids, hot.persons, hot.vectors, hot.count)
            sealed = self._seal(rows)
            people = hot.persons[: hot.count]
            self._templates = Table(np.int32)
            self._templates.increase(people, 1)
            self._standing.warm(people[_firsts(people)])
            self._publish(View(rows, rows.used, sealed.built.index, sealed.rows), sealed)
            self._complete = hot.count == hot.gallery
            self._seq = hot.seq
            self._generation += 1
        finally:
            self._loading = None
        logger.info("loaded %d templates into the hot tier (%s)", self.count(), self.kind)

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

    def search(self, probes: Embeddings, limit: int) -> list[list[Hit]]:
        faiss.omp_set_num_threads(self._options.threads)  # per calling thread
        view = self._view
        try:
            return view.search(probes, limit)
        except (RuntimeError, MemoryError) as problem:
            if view.index is None:
                raise
            self._failed(problem, "An exact scan serves until the index is built again.")
            return self._without_index(view).search(probes, limit)

    def count(self) -> int:
        return self._view.rows.count

    def holds(self, template_id: int) -> bool:
        return self._view.rows.place(template_id) != NOWHERE

    def persons_of(self, template_ids: Collection[int]) -> Mapping[int, int]:
        """Whose templates these are, of those that are held; from any thread."""
        return self._view.rows.persons_of(template_ids)

    def held(self, template_ids: Collection[int]) -> Mapping[int, Embedding]:
        return self._view.rows.held(template_ids)

    def ids(self) -> Ids:
        """All templates held, in no order."""
        rows = self._view.rows
        return rows.ids[rows.living()]

    def ping(self) -> None:
        """Nothing to ask: it lives in this process."""

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
        if not self._generation or time.monotonic() < self._retry_at:
            return None
        return next_job(self._view, self._options.index, self._sealed)

    def attempt(self, job: Job) -> Finished | None:
        """Do the work, without the apply lock; None if FAISS could not."""
        try:
            return job.run()
        except (RuntimeError, MemoryError) as problem:
            self._failed(problem, f"The present index ({self.kind}) goes on.")
            return None

    def adopt(self, finished: Finished | None) -> None:
        """Put what was built into service, unless its rows have been replaced meanwhile."""
        if finished is None or finished.job.view.rows is not self._view.rows:
            return
        try:
            view = finished.catch_up()
        except MemoryError as problem:
            self._failed(problem, f"The present index ({self.kind}) goes on.")
            return
        self._publish(view, finished.sealed)
        self._trouble = None
        logger.debug("%s: %s over %d templates", finished.job.work, self.kind, self.count())

    def close(self) -> None:
        """Let go of the memory; may be called twice."""
        self._publish(View(Rows.with_room(SPARE_ROOM, self._dimension), 0), NOTHING)
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
                self._failed(problem, f"At most {most} templates are kept in memory.")
                self._options = replace(self._options, capacity=most)

    def _loaded(self, share: float) -> None:
        if self._loading is not None:
            self._loading = (LOADING_SHARE * share, self._loading[1])

    def _seal(self, rows: Rows) -> Sealed:
        try:
            return seal(self._options.index, rows, rows.used)
        except (RuntimeError, MemoryError) as problem:
            self._failed(problem, "An exact scan serves until then.")
            return NOTHING

    def _failed(self, problem: Exception, meanwhile: str) -> None:
        logger.warning("FAISS failed (%s): %s", type(problem).__name__, meanwhile)
        logger.debug("FAISS failed", exc_info=problem)
        why = "for want of memory" if isinstance(problem, MemoryError) else "with an error"
        self._trouble = f"FAISS failed {why}; it is tried again. {meanwhile}"
        self._retry_at = time.monotonic() + RETRY_SECONDS

    def _without_index(self, failed: View) -> View:
        with self._publishing:
            if self._view.index is failed.index:
                self._view = View(self._view.rows, self._view.used)
                self._sealed = NOTHING
            return self._view

    def _publish(self, view: View, sealed: Sealed) -> None:
        with self._publishing:
            self._view, self._sealed = view, sealed

    def _publish_rows(self, rows: Rows) -> None:
        with self._publishing:
            self._view = replace(self._view, rows=rows, used=rows.used)

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
        rows = self._view.rows
        new = rows.places(ids) == NOWHERE
        ids, persons, vectors = ids[new], persons[new], vectors[new]
        if not len(ids):
            return
        try:
            rows = self._with_room(rows, len(ids))
        except MemoryError as problem:
            self._failed(problem, "Newcomers are left to Qdrant.")
            self._complete = False
            self._drop_people(persons)  # whole or not at all
            return
        rows.add(ids, persons, vectors)
        self._templates.increase(persons, 1)
        self._publish_rows(rows)

    def _with_room(self, rows: Rows, wanted: int) -> Rows:
        """The rows, or a longer copy of them with everything in its place. Raises MemoryError."""
        if wanted <= rows.free:
            return rows
        longer = moved(rows, np.arange(rows.used), roomy(rows.used + wanted))
        longer.drop(np.flatnonzero(~rows.are_alive(np.arange(rows.used))))
        return longer

    def _drop(self, ids: Ids) -> None:
        rows = self._view.rows
        places = rows.places(ids)
        self._drop_places(places[places != NOWHERE])

    def _drop_people(self, persons: Ids) -> None:
        rows = self._view.rows
        places = rows.living()
        self._drop_places(places[np.isin(rows.persons[places], persons)])

    def _drop_places(self, places: Places) -> None:
        rows = self._view.rows
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
        rows = self._view.rows
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
