"""One run of the suite: the product, its people, and an account of what was done and acknowledged."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from core.domain.faces import Box, Embedding, Embeddings, Face, PhotoVerdict, Quality
from core.domain.people import EnrollResult, Receipt
from core.domain.search import Decision, SearchResult, Source, Strategy
from core.services.service import RobiService
from tests.hybrid.people import EACH, People, people_of

NEW_SHARE = 100  # one newcomer, and one erased and one renamed person, for each so many


@dataclass(slots=True)
class Account:
    """What was acknowledged; the product must never contradict it. Writers hold `lock`."""

    names: dict[str, str] = field(default_factory=dict)  # of the people who are enrolled
    pending: dict[str, str] = field(default_factory=dict)  # names that are being given, or were
    leaving: set[str] = field(default_factory=set)  # people who are being erased, or were
    erased: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)  # enrolled, renamed, erased
    searches: Counter[tuple[str, str]] = field(default_factory=Counter)  # by strategy and decision
    hot: Counter[str] = field(default_factory=Counter)  # queries that asked it, accepted, winner_hot
    lock: threading.Lock = field(default_factory=threading.Lock)

    def gone(self) -> frozenset[str]:
        """Everybody whose erasure is acknowledged by now."""
        with self.lock:
            return frozenset(self.erased)

    def templates(self) -> int:
        """How many are enrolled."""
        return EACH * len(self.names)

    def count(self, strategy: Strategy) -> int:
        return sum(number for (name, _), number in self.searches.items() if name == strategy.value)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What the sections work on, one after the other. Thread-safe."""

    service: RobiService
    people: People  # to be enrolled in bulk
    newcomers: People  # to be enrolled while others search
    queries: int
    rng: np.random.Generator
    progress: Callable[[str, int, int], None]
    account: Account = field(default_factory=Account)

    @classmethod
    def of(
        cls,
        service: RobiService,
        users: int,
        queries: int,
        seed: int,
        progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
    ) -> Run:
        rng = np.random.default_rng(seed)
        dimension = service.engine.pack.dimension
        people = people_of(rng, users, dimension, "person-")
        newcomers = people_of(rng, max(4, users // NEW_SHARE), dimension, "newcomer-")
        return cls(service, people, newcomers, queries, rng, progress)

    @property
    def room(self) -> float:
        """Most templates that the cache keeps; `auto` means all that such a run can enroll."""
        size = self.service.settings.faiss_cache_size
        return math.inf if size == "auto" else size

    def enroll(self, user_id: str, templates: Embeddings, *, allow_duplicate: bool = True) -> EnrollResult:
        """As the product enrolls inspected photos: of one person, into the ledger, into both tiers.

        Duplicates are allowed by default because among many random directions some are alike by chance.
        """
        name = f"Person {user_id}"
        verdicts = [_photo(number, vector) for number, vector in enumerate(templates)]
        result = self.service.enrollment.enroll_verdicts(
            user_id, name, verdicts, allow_duplicate=allow_duplicate, via="upload"
        )
        with self.account.lock:
            self.account.names[user_id] = name
            self.account.done["enrolled"] += 1
        return result

    def rename(self, user_id: str, name: str) -> None:
        with self.account.lock:
            self.account.pending[user_id] = name
        self.service.people.update(user_id, name=name)
        with self.account.lock:
            self.account.names[user_id] = name
            self.account.done["renamed"] += 1

    def erase(self, user_id: str) -> Receipt:
        with self.account.lock:
            self.account.leaving.add(user_id)
        receipt = self.service.erasures.erase(user_id)
        with self.account.lock:
            del self.account.names[user_id]
            self.account.erased.add(user_id)
            self.account.done["erased"] += 1
        return receipt

    def search(self, probe: Embedding, strategy: Strategy) -> SearchResult:
        result = self.service.matching.search(probe, strategy=strategy)
        with self.account.lock:
            self.account.searches[result.strategy.value, result.decision.value] += 1
            if "faiss" in result.tiers:
                self._count_hot(result)
        return result

    def _count_hot(self, result: SearchResult) -> None:
        self.account.hot["queries"] += 1
        if result.decision is Decision.MATCH and result.best:
            self.account.hot["accepted"] += 1
            self.account.hot["winner_hot"] += result.best.source in (Source.FAISS, Source.BOTH)


def _photo(number: int, vector: Embedding) -> PhotoVerdict:
    """An inspected photo of which only the embedding matters."""
    landmarks = np.zeros((5, 2), np.float32)
    face = Face(Box(0, 0, 112, 112), landmarks, 0.99, vector, Quality(0.9), yaw=0.0, pitch=0.5, roll=0.0)
    return PhotoVerdict(f"{number}.jpg", face, (), ())
