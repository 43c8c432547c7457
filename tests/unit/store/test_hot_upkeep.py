"""The hot tier while its index is built anew, while it loads, and when FAISS or the memory fails it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from core.domain.faces import Embeddings
from core.domain.search import Strategy
from core.domain.templates import HotSet
from core.store.hybrid import HybridVectorStore
from core.store.search.plan import HOT
from core.store.tiers.faiss import index_builder, vector_table
from core.store.tiers.faiss.candidate_index import CandidateIndex, GpuOptions, GpuUnavailable, IndexOptions
from core.store.tiers.faiss.gpu import index as gpu
from core.store.tiers.faiss.index import build
from core.store.tiers.faiss.tier import HotOptions, HotTier
from core.store.tiers.faiss.vector_table import VectorTable
from tests.unit.store.conftest import OpenStore
from tests.unit.store.kit import DIMENSION, Clock, MemoryFeed, eventually, faces, lose, tidy

PEOPLE = 800


@pytest.fixture
def gallery(feed: MemoryFeed, random: np.random.Generator) -> Embeddings:
    """(PEOPLE, dimension), enrolled as p0, p1, … with template ids from 1."""
    vectors = faces(random, PEOPLE, 1)[:, 0]
    for number, vector in enumerate(vectors):
        feed.enroll(f"p{number}", vector[None])
    return vectors


def open_tier(
    feed: MemoryFeed, *, capacity: int = 100_000, clock: Callable[[], float] = time.monotonic, **index: Any
) -> HotTier:
    options = HotOptions(IndexOptions(**{"setting": "PQfs"} | index), capacity)
    tier = HotTier(feed, DIMENSION, options, clock=clock)
    tier.open()
    return tier


def follow(tier: HotTier, feed: MemoryFeed) -> None:
    tier.apply(feed.changes(tier.seq, 100_000), after=tier.seq)


def best(tier: HotTier, vectors: Embeddings) -> list[int]:
    return [hits[0].template_id for hits in tier.search(vectors, 1)]


@pytest.mark.parametrize("setting", ["PQfs", "SQfp16", "IVF"])
def test_enrolling_leaves_the_index_alone_until_the_tail_is_long(
    feed: MemoryFeed,
    gallery: Embeddings,
    random: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
) -> None:
    monkeypatch.setattr(index_builder, "LONGEST_TAIL", 50)
    tier = open_tier(feed, setting=setting)
    before = tier.snapshot
    new = faces(random, 60, 1)
    for number, templates in enumerate(new):
        feed.enroll(f"new{number}", templates)
    follow(tier, feed)
    assert tier.snapshot.index is before.index
    assert best(tier, new[:, 0]) == list(range(801, 861)), "found in the tail"
    tidy(tier)
    assert tier.snapshot.index is not before.index
    assert tier.snapshot.used - tier.snapshot.sealed.rows < 8
    assert best(tier, new[:, 0]) == list(range(801, 861)), "found in the index"
    assert best(tier, gallery) == list(range(1, PEOPLE + 1))
    assert [len(hits) for hits in before.search(gallery[:1], 900)] == [PEOPLE], "a search under way goes on"


def test_what_changes_while_rows_are_moved_is_not_lost(
    feed: MemoryFeed, gallery: Embeddings, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_builder, "FEWEST_DEAD", 10)
    tier = open_tier(feed)
    for number in range(0, 400, 2):
        feed.erase(f"p{number}")
    follow(tier, feed)
    job = tier.due()
    assert job is not None
    assert job.work is index_builder.Work.COMPACT
    outcome = job.run()
    new = faces(random, 30, 1)
    for number, templates in enumerate(new):
        feed.enroll(f"new{number}", templates)
    for number in range(1, 101, 2):
        feed.erase(f"p{number}")
    feed.erase("new0")
    follow(tier, feed)
    comes_back = feed.number("p799")
    lose(tier, 800)  # as by an eviction, and then it is recognised again
    tier.promote([comes_back])
    tier.adopt(outcome)
    living = sorted(template.template_id for template in feed.all())
    assert sorted(tier.ids().tolist()) == living
    assert tier.count() == len(living)
    assert tier.snapshot.rows.dead < 60
    for template in feed.all():
        assert best(tier, template.vector[None]) == [template.template_id]
    everything = [hit.template_id for hit in tier.search(gallery[:1], 2000)[0]]
    assert sorted(everything) == living, "everybody once"


def test_what_was_built_for_rows_that_are_gone_is_thrown_away(
    feed: MemoryFeed, gallery: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_builder, "FEWEST_DEAD", 10)
    tier = open_tier(feed)
    for number in range(300, 600):
        feed.erase(f"p{number}")
    follow(tier, feed)
    job = tier.due()
    assert job is not None
    outcome = job.run()
    tier.clear()
    view = tier.snapshot
    tier.adopt(outcome)
    assert tier.snapshot is view
    assert best(tier, gallery[:5]) == [1, 2, 3, 4, 5]


def test_rows_grow_beyond_their_room(
    feed: MemoryFeed, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_table, "SPARE_ROOM", 16)
    tier = open_tier(feed)
    assert tier.snapshot.rows.room == 16
    new = faces(random, 200, 1)
    for start in range(0, 200, 10):
        for number in range(start, start + 10):
            feed.enroll(f"p{number}", new[number])
        for number in range(start, start + 3):
            feed.erase(f"p{number}")
        follow(tier, feed)
    assert tier.count() == 140
    assert not tier.snapshot.rows.holds(1)
    assert tier.held([10])[10].tolist() == new[9, 0].tolist()


def test_an_index_serves_on_when_its_rows_have_moved_to_where_there_is_room(
    feed: MemoryFeed, gallery: Embeddings, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.store.tiers.faiss.tier.roomy", lambda count: count + 8)
    tier = open_tier(feed)
    rows, new = tier.snapshot.rows, faces(random, 60, 1)
    for number, templates in enumerate(new):
        feed.enroll(f"new{number}", templates)
    for number in range(10):
        feed.erase(f"p{number}")
    follow(tier, feed)
    assert tier.snapshot.rows is not rows
    assert tier.kind == "PQfs"
    assert best(tier, np.concatenate([gallery[10:], new[:, 0]])) == list(range(11, 861))
    assert tier.count() == len(tier.ids()) == 850


def test_searches_and_enrollments_go_on_while_an_index_is_built(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building takes as long as it likes here: until everything else has been done."""
    may_end, begun = threading.Event(), threading.Event()

    def slow(options: IndexOptions, vectors: Embeddings) -> Any:
        built = build(options, vectors)
        if len(vectors):
            begun.set()
            assert may_end.wait(20)
        return built

    monkeypatch.setattr(index_builder, "build", slow)
    store: HybridVectorStore = open_store(faiss_index_type="PQfs", use_gpu="false")
    everybody = faces(random, 1000, 1)
    for number in range(900):
        _, seq = feed.enroll(f"p{number}", everybody[number])
    store.sync(seq)
    assert begun.wait(20)
    for number in range(900, 1000):
        _, seq = feed.enroll(f"p{number}", everybody[number])
        assert store.sync(seq) == ()
        assert store.search(everybody[number, 0], strategy=Strategy.FAISS_FIRST).best is not None
    ids, seq = feed.erase("p5")
    assert store.sync(seq) == ()
    assert store.upkeep.left(ids) == {"faiss": 0, "qdrant": 0}
    hot = store.hot
    assert hot is not None
    assert hot.kind == "Flat", "still building"
    may_end.set()
    assert eventually(lambda: hot.kind == "PQfs")
    found = [hits[0].template_id for hits in hot.search(everybody[6:, 0], 1)]
    assert found == list(range(7, 1001))
    assert store.tiers[HOT].projection.ok


def test_many_searchers_are_right_while_everything_changes(
    feed: MemoryFeed, gallery: Embeddings, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_builder, "LONGEST_TAIL", 64)
    monkeypatch.setattr(index_builder, "FEWEST_DEAD", 64)
    tier = open_tier(feed)
    stop, wrong, searched = threading.Event(), [], [0, 0, 0]

    def search(worker: int) -> None:
        dice = np.random.default_rng(worker)
        while not stop.is_set():
            some = dice.integers(0, 400, 8)  # who stay
            if best(tier, gallery[some]) != (some + 1).tolist():
                wrong.append(some)
            searched[worker] += 1

    workers = [threading.Thread(target=search, args=(n,)) for n in range(3)]
    for worker in workers:
        worker.start()
    for round_ in range(40):
        new = faces(random, 50, 1)
        for number, templates in enumerate(new):
            feed.enroll(f"{round_}-{number}", templates)
        for number in range(25):
            feed.erase(f"{round_}-{number}")
        for number in range(10):
            feed.erase(f"p{400 + 10 * round_ + number}")
        follow(tier, feed)
        tidy(tier)
    stop.set()
    for worker in workers:
        worker.join()
    assert wrong == []
    assert min(searched) > 5
    assert sorted(tier.ids().tolist()) == sorted(t.template_id for t in feed.all())


class SlowToLoad(MemoryFeed):
    """A ledger that reads out the hot set as slowly as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.half_way, self.go_on = threading.Event(), threading.Event()

    def hot_set(
        self, limit: int, *, spare: int = 0, progress: Callable[[float], None] = lambda _share: None
    ) -> HotSet:
        hot = super().hot_set(limit, spare=spare)
        progress(0.5)
        self.half_way.set()
        assert self.go_on.wait(20)
        return hot


def test_loading_shows_how_far_it_is_and_lets_searches_pass(random: np.random.Generator) -> None:
    feed, vectors = SlowToLoad(), faces(random, 40, 1)
    for number, templates in enumerate(vectors):
        feed.enroll(f"p{number}", templates)
    tier = HotTier(feed, DIMENSION, HotOptions(IndexOptions(), 100))
    loader = threading.Thread(target=tier.open)
    loader.start()
    assert feed.half_way.wait(20)
    assert tier.progress == pytest.approx(0.45)
    assert tier.note == "Loading 40 templates, 45% done."
    assert tier.search(vectors[:2, 0], 3) == [[], []]
    assert not tier.snapshot.settles
    feed.enroll("late", faces(random, 1, 1)[0])
    feed.go_on.set()
    loader.join()
    assert (tier.progress, tier.note, tier.seq) == (None, None, 40)
    follow(tier, feed)
    assert tier.complete
    assert tier.snapshot.rows.holds(41)


def fails(*_args: object) -> Any:
    raise MemoryError


@pytest.mark.parametrize("problem", [MemoryError(), RuntimeError("std::bad_alloc")])
def test_a_tier_whose_index_cannot_be_built_scans_exactly_and_says_so(
    feed: MemoryFeed, gallery: Embeddings, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    def build_fails(*_args: object) -> Any:
        raise problem

    monkeypatch.setattr(index_builder, "build", build_fails)
    clock = Clock()
    tier = open_tier(feed, clock=clock)
    assert tier.kind == "Flat"
    assert "FAISS failed" in (tier.note or "")
    assert best(tier, gallery) == list(range(1, PEOPLE + 1))
    assert tier.complete
    assert tier.due() is None, "not again at once"
    monkeypatch.undo()
    clock.now += index_builder.RETRY_SECONDS
    tidy(tier)
    assert (tier.kind, tier.note) == ("PQfs", None)


def test_a_tier_whose_index_cannot_grow_stays_on_it(
    feed: MemoryFeed, gallery: Embeddings, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_builder, "LONGEST_TAIL", 8)
    tier = open_tier(feed)
    new = faces(random, 20, 1)
    for number, templates in enumerate(new):
        feed.enroll(f"new{number}", templates)
    follow(tier, feed)
    monkeypatch.setattr(type(tier.snapshot.index), "extended", fails)
    tidy(tier)
    assert tier.note is not None
    assert tier.note.endswith("for want of memory; it is tried again. The present index (PQfs) goes on.")
    assert best(tier, new[:, 0]) == list(range(801, 821))


def test_an_index_that_fails_in_a_search_is_replaced_by_an_exact_scan(
    feed: MemoryFeed, gallery: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = open_tier(feed)
    monkeypatch.setattr(type(tier.snapshot.index), "search", fails)
    assert best(tier, gallery) == list(range(1, PEOPLE + 1))
    assert tier.kind == "Flat"
    assert "exact scan" in (tier.note or "")


def test_newcomers_for_whom_there_is_no_memory_are_left_out_whole(
    feed: MemoryFeed, gallery: Embeddings, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = open_tier(feed)
    monkeypatch.setattr(tier.snapshot.rows, "used", tier.snapshot.rows.room)  # full
    monkeypatch.setattr(VectorTable, "with_room", fails)
    ids, _ = feed.enroll("p7", faces(random, 1, 2)[0])
    monkeypatch.setattr(tier.snapshot.rows, "living", lambda: np.arange(PEOPLE))
    follow(tier, feed)
    assert tier.seq == feed.head()
    assert not tier.complete
    assert tier.held([8, *ids]) == {}, "not in part"
    assert "left to Qdrant" in (tier.note or "")


class Enormous(MemoryFeed):
    """A ledger whose hot set fits into memory only up to 300 templates."""

    def hot_set(
        self, limit: int, *, spare: int = 0, progress: Callable[[float], None] = lambda _share: None
    ) -> HotSet:
        if limit > 1500:
            raise MemoryError
        return super().hot_set(limit, spare=spare, progress=progress)


def test_a_gallery_too_large_for_the_memory_is_loaded_in_part(random: np.random.Generator) -> None:
    feed = Enormous()
    for number, templates in enumerate(faces(random, 2000, 1)):
        feed.enroll(f"p{number}", templates)
    tier = HotTier(feed, DIMENSION, HotOptions(IndexOptions("Flat"), 100_000))
    tier.open()
    assert (tier.count(), tier.state.capacity, tier.complete) == (1000, 1000, False)
    assert "At most 1000 templates" in (tier.note or "")


@pytest.mark.parametrize("required", [True, False])
def test_a_missing_gpu_is_named_where_one_was_asked_for(
    feed: MemoryFeed, gallery: Embeddings, monkeypatch: pytest.MonkeyPatch, required: bool
) -> None:
    def nothing_there(*_args: object) -> CandidateIndex:
        raise GpuUnavailable("There is no NVIDIA driver.")

    monkeypatch.setattr(gpu, "flat", nothing_there)
    options = HotOptions(IndexOptions(gpu=GpuOptions(0, 0.8, required)), 1000)
    tier = HotTier(feed, DIMENSION, options)
    tier.open()
    assert best(tier, gallery) == list(range(1, PEOPLE + 1))
    assert tier.degraded is required
    sentence = "A GPU was asked for, but FAISS searches on the CPU: There is no NVIDIA driver."
    assert tier.note == (sentence if required else None)
