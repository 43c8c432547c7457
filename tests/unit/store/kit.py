"""What the store's tests share: a change feed in memory, faces that cluster by person, and the oracle."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from core.config.settings import Settings
from core.domain.decisions import Rule
from core.domain.faces import Embedding, Embeddings, PackInfo
from core.domain.people import GalleryCounts
from core.domain.search import Decision
from core.domain.templates import Change, ChangeKind, HotSet, StoredTemplate
from core.store.contract import ChangeFeed, Tier
from core.store.tiers.faiss.tier import HotTier
from core.store.tiers.server.options import CollectionOwner

DIMENSION = 128
PACK = PackInfo(id="test", digest="00" * 32, dimension=DIMENSION, licence="none")


def owner_of(feed: MemoryFeed) -> CollectionOwner:
    return CollectionOwner(feed.gallery_id, PACK.digest, PACK.dimension)


def settings(**values: object) -> Settings:
    """Settings untouched by the environment's `.env`."""
    return Settings(_env_file=None, qdrant_url=values.pop("qdrant_url", ""), **values)


class MemoryFeed:
    """A ledger of the simplest kind: everything in dictionaries, every call under one lock."""

    def __init__(self, gallery_id: str | None = None, *, people_before: int = 0) -> None:
        """`people_before` is how many numbers of people are taken."""
        self.gallery_id = gallery_id or str(uuid4())
        self._lock = threading.RLock()
        self._changes: list[Change] = []
        self._templates: dict[int, StoredTemplate] = {}
        self._people: OrderedDict[str, int] = OrderedDict()
        self._numbers: dict[str, int] = {str(number): number for number in range(people_before)}
        self._next = 1
        self.resolves = 0

    def enroll(self, user_id: str, vectors: Embeddings) -> tuple[tuple[int, ...], int]:
        """Returns the new template ids and the seq."""
        with self._lock:
            person = self._people.setdefault(user_id, len(self._numbers) + 1)
            self._numbers[f"{user_id}#{person}"] = person
            self._people.move_to_end(user_id)
            ids = tuple(range(self._next, self._next + len(vectors)))
            self._next += len(vectors)
            for template_id, vector in zip(ids, np.atleast_2d(vectors), strict=True):
                self._templates[template_id] = StoredTemplate(
                    template_id, person, user_id, f"Name of {user_id}", vector
                )
                self._append(ChangeKind.PUT, template_id, person)
            return ids, len(self._changes)

    def erase(self, user_id: str) -> tuple[tuple[int, ...], int]:
        with self._lock:
            person = self._people.pop(user_id)
            ids = tuple(t.template_id for t in self._templates.values() if t.person == person)
            for template_id in ids:
                del self._templates[template_id]
                self._append(ChangeKind.DROP, template_id, person)
            return ids, len(self._changes)

    def number(self, user_id: str) -> int:
        with self._lock:
            return self._people[user_id]

    def all(self) -> list[StoredTemplate]:
        with self._lock:
            return list(self._templates.values())

    def when_others_commit(self, tell: Callable[[], None]) -> None:
        """Nobody is told: followers look by themselves."""

    def head(self) -> int:
        with self._lock:
            return len(self._changes)

    def changes(self, after: int, limit: int) -> Sequence[Change]:
        with self._lock:
            run = self._changes[after : after + limit]
            return [
                replace(c, vector=self._templates[c.template_id].vector)
                if c.kind is ChangeKind.PUT and c.template_id in self._templates
                else c
                for c in run
            ]

    def resolve(self, template_ids: Collection[int]) -> Mapping[int, StoredTemplate]:
        with self._lock:
            self.resolves += 1
            return {i: self._templates[i] for i in template_ids if i in self._templates}

    def hot_set(
        self, limit: int, *, spare: int = 0, progress: Callable[[float], None] = lambda _share: None
    ) -> HotSet:
        with self._lock:
            chosen: list[StoredTemplate] = []
            for person in reversed(self._people.values()):
                theirs = [t for t in self._templates.values() if t.person == person]
                if len(chosen) + len(theirs) > limit:
                    break
                chosen += theirs
            count = len(chosen)
            ids, persons = np.zeros((2, count + spare), np.int64)
            vectors = np.zeros((count + spare, DIMENSION), np.float32)
            for place, t in enumerate(chosen):
                ids[place], persons[place], vectors[place] = t.template_id, t.person, t.vector
            progress(1.0)
            return HotSet(len(self._changes), ids, persons, vectors, count, len(self._templates))

    def templates_of(self, persons: Collection[int]) -> Sequence[StoredTemplate]:
        with self._lock:
            return [t for t in self._templates.values() if t.person in persons]

    def template_ids(self) -> tuple[int, NDArray[np.int64]]:
        with self._lock:
            return len(self._changes), np.fromiter(self._templates, np.int64)

    def counts(self) -> GalleryCounts:
        with self._lock:
            return GalleryCounts(len(self._people), len(self._templates))

    def _append(self, kind: ChangeKind, template_id: int, person: int) -> None:
        self._changes.append(Change(len(self._changes) + 1, kind, template_id, person, None))


_feed: ChangeFeed = MemoryFeed()  # mypy and readers: it is one


def unit(rows: Embeddings) -> Embeddings:
    """Rows scaled to length 1."""
    return np.ascontiguousarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


def faces(random: np.random.Generator, people: int, each: int, dimension: int = DIMENSION) -> Embeddings:
    """Shape (people, each, dimension): templates of one person are about 0.8 similar."""
    centers = unit(random.standard_normal((people, 1, dimension)))
    return unit(centers + 0.5 / np.sqrt(dimension) * random.standard_normal((people, each, dimension)))


def another_look(random: np.random.Generator, template: Embedding) -> Embedding:
    """A probe of the same face."""
    return unit(template + 0.4 / np.sqrt(len(template)) * random.standard_normal(template.shape))


def oracle(
    feed: MemoryFeed, probe: Embedding, k: int, rule: Rule
) -> tuple[list[tuple[str, float]], Decision]:
    """The exact answer: best template per person over the whole ledger, by numpy alone."""
    best: dict[str, float] = {}
    for template in feed.all():
        similarity = float(np.dot(template.vector.astype(np.float64), probe.astype(np.float64)))
        best[template.user_id] = max(best.get(template.user_id, -2.0), similarity)
    ranked = sorted(best.items(), key=lambda item: (-item[1], item[0]))
    return ranked[:k], rule.decide([similarity for _, similarity in ranked[:2]])


def tidy(hot: HotTier) -> None:
    """All upkeep that is due, at once."""
    job = hot.due()
    if job is not None:
        hot.adopt(job.run())


def lose(hot: HotTier, *template_ids: int) -> None:
    """Behind the back of everybody."""
    rows = hot.snapshot.rows
    rows.drop(rows.places(np.array(template_ids)))


def spoil_cold(tier: Tier, *, lose: Collection[int] = (), add: Mapping[int, Embedding] | None = None) -> None:
    """Take away and put in behind the back of everybody: as changes of the ledger that it never made."""
    drops = [Change(tier.seq, ChangeKind.DROP, number, 0, None) for number in lose]
    puts = [Change(tier.seq, ChangeKind.PUT, number, number, face) for number, face in (add or {}).items()]
    tier.apply([*drops, *puts], after=tier.seq)


class Clock:
    """Stands still until it is told otherwise."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Wait for something that happens in the background; the time is a bound, not an expectation."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()
