"""Erased means never again: by every strategy, in every tier, also while others write, promote and read."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
import pytest

from core.domain.faces import Embeddings
from core.domain.search import Decision, Strategy
from core.domain.templates import StoredTemplate
from core.store.hybrid import HybridVectorStore
from core.store.sync.promotion import PROMOTE_SECONDS
from tests.unit.store.conftest import OpenStore
from tests.unit.store.kit import PACK, MemoryFeed, eventually, faces, settings

SEED = 20
SECONDS = 3.0
PEOPLE = 4000


def promote(store: HybridVectorStore, persons: Collection[int]) -> None:
    """What the follower does about people who were recognised, now and on this thread."""
    assert store.hot is not None
    with store.tiers["faiss"].projection.exclusive(PROMOTE_SECONDS):
        store.hot.promote(persons)


def found(store: HybridVectorStore, probe: np.ndarray, strategy: Strategy) -> set[str]:
    return {candidate.user_id for candidate in store.search(probe, strategy=strategy).candidates}


@pytest.mark.parametrize("strategy", list(Strategy))
def test_erased_is_gone_before_any_tier_has_heard_of_it(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, strategy: Strategy
) -> None:
    gallery = faces(random, 20, 2)
    for number, templates in enumerate(gallery):
        feed.enroll(f"p{number}", templates)
    store = open_store()
    assert "p3" in found(store, gallery[3, 0], strategy)
    feed.erase("p3")  # and no sync
    assert "p3" not in found(store, gallery[3, 0], strategy)
    assert len(found(store, gallery[3, 0], strategy)) == 5, "others move up"


def test_a_receipt_counts_what_is_left(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    gallery = faces(random, 5, 3)
    store = open_store()
    for number, templates in enumerate(gallery):
        ids, seq = feed.enroll(f"p{number}", templates)
    store.sync(seq)
    assert store.upkeep.left(ids) == {"qdrant": 3, "faiss": 3}
    _, seq = feed.erase("p4")
    assert store.sync(seq) == ()
    assert store.upkeep.left(ids) == {"qdrant": 0, "faiss": 0}


def test_a_promotion_that_overlaps_an_erasure_brings_nobody_back(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    gallery = faces(random, 20, 2)
    for number, templates in enumerate(gallery):
        feed.enroll(f"p{number}", templates)
    store = open_store(faiss_cache_size=10)
    number = feed.number("p0")
    ids, _ = feed.erase("p0")
    promote(store, [number])  # decided before the erasure, carried out after it, before any tier applied it
    assert store.upkeep.left(ids)["faiss"] == 0


class SlowReader(MemoryFeed):
    """A ledger whose reading of people's templates can be held up after the read."""

    def __init__(self) -> None:
        super().__init__()
        self.after_read: Callable[[], object] = lambda: None

    def templates_of(self, persons: Collection[int]) -> Sequence[StoredTemplate]:
        found = super().templates_of(persons)
        self.after_read()
        return found


def test_an_erasure_between_a_promotion_s_read_and_its_end_wins(
    tmp_path: Path, random: np.random.Generator
) -> None:
    feed = SlowReader()
    for number, templates in enumerate(faces(random, 20, 2)):
        feed.enroll(f"p{number}", templates)
    store = HybridVectorStore.open(settings(faiss_cache_size=10), feed, PACK, tmp_path)
    number = feed.number("p0")
    erased: list[tuple[int, ...]] = []

    def erase() -> None:
        ids, seq = feed.erase("p0")
        erased.append(ids)
        store.sync(seq)

    eraser = threading.Thread(target=erase)

    def overtake() -> None:
        feed.after_read = lambda: None
        eraser.start()
        eraser.join(0.5)  # it must wait for the promotion; where it need not, it is done by now

    feed.after_read = overtake
    promote(store, [number])
    assert eventually(lambda: eraser.ident is not None), "the follower may have been quicker"
    eraser.join()
    assert store.upkeep.left(erased[0]) == {"qdrant": 0, "faiss": 0}
    store.close()


def test_enrolled_again_is_found_again(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    face = faces(random, 1, 1)[0]
    store = open_store()
    for _ in range(3):
        _, seq = feed.enroll("p", face)
        assert store.sync(seq) == ()
        assert store.search(face[0]).decision is Decision.MATCH
        _, seq = feed.erase("p")
        assert store.sync(seq) == ()
        assert store.search(face[0]).candidates == ()


class Crowd:
    """Writers that enroll and erase, promoters and readers, all at once for a while."""

    def __init__(self, store: HybridVectorStore, feed: MemoryFeed) -> None:
        self.store = store
        self.feed = feed
        self.gallery: Embeddings = faces(np.random.default_rng(SEED), PEOPLE, 1)[:, 0]
        self.erased: set[str] = set()
        self.recent: deque[int] = deque(maxlen=50)
        self.ghosts: list[tuple[str, Strategy]] = []
        self.missing: list[str] = []
        self.failures: list[BaseException] = []
        self.reads = 0
        self.end = time.monotonic() + SECONDS

    def run(self) -> None:
        jobs = [lambda n=n: self.write(n) for n in range(2)]
        jobs += [lambda n=n: self.read(n) for n in range(3)]
        jobs += [lambda n=n: self.promote(n) for n in range(2)]
        threads = [threading.Thread(target=self.guarded, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def guarded(self, job: object) -> None:
        try:
            job()
        except BaseException as problem:  # noqa: BLE001  reported by the main thread
            self.failures.append(problem)

    def write(self, writer: int) -> None:
        random = np.random.default_rng((SEED, 1, writer))
        for number in range(writer, PEOPLE, 2):
            if time.monotonic() > self.end:
                return
            user_id = f"p{number}"
            _, seq = self.feed.enroll(user_id, self.gallery[number][None])
            assert self.store.sync(seq) == ()
            strategy = Strategy(random.choice(list(Strategy)))
            if user_id not in found(self.store, self.gallery[number], strategy):
                self.missing.append(user_id)
            self.recent.append(number)
            if random.random() < 0.5:
                self.feed.erase(user_id)
                self.erased.add(user_id)
                if user_id in found(self.store, self.gallery[number], strategy):
                    self.ghosts.append((user_id, strategy))
                self.store.sync(self.feed.head())

    def read(self, reader: int) -> None:
        random = np.random.default_rng((SEED, 2, reader))
        while time.monotonic() < self.end:
            if not self.recent:
                continue
            number = self.recent[random.integers(len(self.recent))]
            erased_before = set(self.erased)
            strategy = Strategy(random.choice(list(Strategy)))
            for user_id in found(self.store, self.gallery[number], strategy) & erased_before:
                self.ghosts.append((user_id, strategy))
            self.reads += 1

    def promote(self, promoter: int) -> None:
        random = np.random.default_rng((SEED, 3, promoter))
        while time.monotonic() < self.end:
            people = random.integers(1, 1 + max(1, self.feed.head()), size=5)
            promote(self.store, [int(person) for person in people])


@pytest.mark.parametrize("capacity", [100_000, 60], ids=["full coverage", "partial coverage"])
@pytest.mark.slow
def test_nobody_comes_back_and_nobody_is_missing_under_concurrency(
    open_store: OpenStore, feed: MemoryFeed, capacity: int
) -> None:
    store = open_store(faiss_cache_size=capacity)
    crowd = Crowd(store, feed)
    crowd.run()
    print(f"seed {SEED}: {feed.head()} changes, {len(crowd.erased)} erased, {crowd.reads} reads")
    assert crowd.failures == []
    assert crowd.ghosts == []
    assert crowd.missing == []
    assert crowd.erased
    assert crowd.reads > 100
    assert store.sync(feed.head()) == ()
    living = {template.template_id for template in feed.all()}
    gone = [template_id for template_id in range(1, feed.head() + 1) if template_id not in living]
    assert store.upkeep.left(gone) == {"qdrant": 0, "faiss": 0}
    assert store.upkeep.left(sorted(living))["qdrant"] == len(living)
