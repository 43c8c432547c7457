"""The hot tier: float32 templates in memory under a FAISS index, whole people only, recently used first."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import faiss
import numpy as np

from core.config import IndexType, Settings
from core.store.cold import Stale, condense
from core.store.feed import ChangeFeed
from core.store.index import CandidateIndex, build, fewest_for, kind_for
from core.store.slots import Slots
from core.types import Change, Embedding, Embeddings, Hit, StoredTemplate

logger = logging.getLogger("robi.store.faiss")

EVICT_SHARE = 20  # one twentieth of the capacity leaves at a time
SPARE_ROOM = 1024  # places beyond what is held, at least
DEAD_SHARE = 0.2  # of the places in use; more is worth building anew
FEWEST_DEAD = 1000
GROWTH = 2.0  # since the index was trained; more is worth training anew
REMEMBERED_MATCHES = 10_000


@dataclass(frozen=True, slots=True)
class HotOptions:
    index: IndexType
    capacity: int
    nlist: int
    nprobe: int
    threads: int
    gpu_wanted: bool

    @classmethod
    def of(cls, settings: Settings) -> HotOptions:
        return cls(
            index=settings.faiss_index_type,
            capacity=settings.faiss_cache_size,
            nlist=settings.faiss_nlist,
            nprobe=settings.faiss_nprobe,
            threads=max(1, (os.cpu_count() or 2) // 2),  # the cold tier works at the same time
            gpu_wanted=settings.use_gpu == "true",
        )


class HotTier:
    """Searches may come from any thread at any time; every other call is made under the apply lock."""

    name = "faiss"

    def __init__(self, feed: ChangeFeed, dimension: int, options: HotOptions) -> None:
        self._feed = feed
        self._dimension = dimension
        self._options = options
        self._seq = 0
        self._generation = 0
        self._complete = False
        self._people: OrderedDict[int, set[int]] = OrderedDict()  # template ids by person, least recent first
        self._person_of: dict[int, int] = {}
        self._matched: deque[int] = deque(maxlen=REMEMBERED_MATCHES)
        self._slots = self._build([], np.empty((0, dimension), np.float32))

    @property
    def kind(self) -> str:
        return self._slots.kind

    @property
    def seq(self) -> int:
        return self._seq

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def complete(self) -> bool:
        """Whether every template of the ledger, as of `seq`, is held."""
        return self._complete

    @property
    def settles(self) -> bool:
        """Whether its answer is the whole gallery's: all is held, and the index skips nothing."""
        return self._complete and self._slots.thorough

    @property
    def note(self) -> str | None:
        if self._options.gpu_wanted:
            return "A GPU was asked for, but FAISS searches on the CPU."
        if self._options.index in ("IVF", "IVFPQ") and self.kind == "Flat":
            needed = fewest_for(self._options.index)
            return f"{self._options.index} needs {needed} templates; Flat serves until then."
        return None

    @property
    def degraded(self) -> bool:
        """Whether the note is about something that was asked for and is missing."""
        return self._options.gpu_wanted

    def open(self) -> None:
        if not self._generation:
            self.clear()

    def clear(self) -> None:
        """Load the hot set afresh; searches use the old one until the new one stands."""
        hot = self._feed.hot_set(self._options.capacity)
        people: OrderedDict[int, set[int]] = OrderedDict()
        for template in reversed(hot.templates):
            people.setdefault(template.person, set()).add(template.template_id)
        vectors = [template.vector for template in hot.templates]
        rows = np.stack(vectors) if vectors else np.empty((0, self._dimension), np.float32)
        self._slots = self._build([t.template_id for t in hot.templates], rows)
        self._people = people
        self._person_of = {t.template_id: t.person for t in hot.templates}
        self._complete = len(hot.templates) == hot.gallery
        self._seq = hot.seq
        self._generation += 1
        logger.info("loaded %d templates into the hot tier (%s)", len(self._slots), self.kind)

    def apply(self, changes: Sequence[Change], *, after: int) -> None:
        if self._seq != after:
            raise Stale("The hot tier was reloaded.")
        batch = condense(changes, self._dimension)
        self._drop(batch.drops)
        strangers = set(batch.persons) - self._people.keys()
        rows = zip(batch.ids, batch.persons, batch.vectors, strict=True)
        if self._complete:
            self._add(rows)  # whoever is not here is new, so nothing of theirs is missing
        else:
            self._add(row for row in rows if row[1] not in strangers)
            self._admit(self._feed.templates_of(strangers) if strangers else ())
        for person in batch.persons:
            self._touch(person)
        self._seq = batch.seq
        self._evict()

    def promote(self, persons: Iterable[int]) -> None:
        """Bring whole people in as most recently used. What the ledger no longer has does not come."""
        wanted = set(persons)
        strangers = wanted - self._people.keys()
        if strangers:
            self._admit(self._feed.templates_of(strangers))
        for person in wanted:
            self._touch(person)
        self._evict()

    def note_match(self, person: int) -> None:
        """Remember a recognised person, from any thread; takes effect at the next eviction."""
        self._matched.append(person)

    def search(self, probes: Embeddings, limit: int) -> list[list[Hit]]:
        faiss.omp_set_num_threads(self._options.threads)  # per calling thread
        return self._slots.search(probes, limit)

    def ping(self) -> None:
        """Nothing to ask: it lives in this process."""

    def count(self) -> int:
        return len(self._slots)

    def holds(self, template_id: int) -> bool:
        return template_id in self._slots

    def held(self, template_ids: Collection[int]) -> Mapping[int, Embedding]:
        return self._slots.held(template_ids)

    def maintain(self) -> None:
        """Build the slots anew when too many are dead, or another kind of index has become the right one."""
        size = len(self._slots)
        wanted = kind_for(self._options.index, size, self._dimension)
        too_dead = self._slots.dead > max(FEWEST_DEAD, DEAD_SHARE * (self._slots.dead + size))
        outgrown = wanted != "Flat" and size > GROWTH * self._trained_on
        if wanted != self._wanted or too_dead or outgrown:
            self._rebuild(size)
        if not self._complete:
            self._complete = self._holds_all()

    def close(self) -> None:
        """Nothing to release: the memory goes with the object."""

    def _holds_all(self) -> bool:
        total = self._feed.counts().templates
        return total == len(self._slots) and self._feed.head() == self._seq

    def _admit(self, templates: Sequence[StoredTemplate]) -> None:
        self._add((t.template_id, t.person, t.vector) for t in templates)

    def _add(self, rows: Iterable[tuple[int, int, Embedding]]) -> None:
        new = [row for row in rows if row[0] not in self._slots]
        if not new:
            return
        if len(new) > self._slots.free:
            self._rebuild(2 * (len(self._slots) + len(new)))
        self._slots.add(
            [template_id for template_id, _, _ in new], np.stack([vector for _, _, vector in new])
        )
        for template_id, person, _ in new:
            self._people.setdefault(person, set()).add(template_id)
            self._person_of[template_id] = person

    def _drop(self, template_ids: Iterable[int]) -> None:
        gone = [template_id for template_id in template_ids if template_id in self._person_of]
        self._slots.drop(gone)
        for template_id in gone:
            person = self._person_of.pop(template_id)
            self._people[person].discard(template_id)
            if not self._people[person]:
                del self._people[person]

    def _touch(self, person: int) -> None:
        if person in self._people:
            self._people.move_to_end(person)

    def _evict(self) -> None:
        capacity = self._options.capacity
        if len(self._slots) <= capacity:
            return
        while self._matched:
            self._touch(self._matched.popleft())
        leaving: list[int] = []
        target = capacity - capacity // EVICT_SHARE
        for templates in self._people.values():
            if len(self._slots) - len(leaving) <= target:
                break
            leaving.extend(templates)
        self._complete = False
        self._drop(leaving)
        logger.debug("evicted %d templates from the hot tier", len(leaving))

    def _rebuild(self, room: int) -> None:
        ids, vectors = self._slots.living()
        self._slots = self._build(ids.tolist(), vectors, room)

    def _build(self, ids: list[int], vectors: Embeddings, room: int = 0) -> Slots:
        self._wanted = kind_for(self._options.index, len(ids), self._dimension)
        self._trained_on = len(ids)

        def make(rows: Embeddings) -> CandidateIndex:
            return build(self._wanted, rows, nlist=self._options.nlist, nprobe=self._options.nprobe)

        return Slots(np.array(ids, np.int64), vectors, max(room, len(ids)) + SPARE_ROOM, make)
