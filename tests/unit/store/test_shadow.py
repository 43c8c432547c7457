"""What hybrid does without waiting: the cache's answer at once, Qdrant's compared when it comes."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from core.domain.errors import Unavailable
from core.domain.faces import Embeddings
from core.domain.search import Hit, Source, Strategy
from core.store.hybrid import HybridVectorStore
from core.store.search import shadow
from tests.unit.store.conftest import OpenStore
from tests.unit.store.kit import DIMENSION, MemoryFeed, eventually, faces, unit

PARTIAL = {"faiss_cache_size": 40}  # of 80 templates


@pytest.fixture
def gallery(feed: MemoryFeed, random: np.random.Generator) -> np.ndarray:
    made = faces(random, 40, 2)
    for number, templates in enumerate(made):
        feed.enroll(f"p{number}", templates)
    return made


def compared(store: HybridVectorStore) -> tuple[float, float]:
    """How many answers were compared, and how many Qdrant knew better."""
    value = store.metrics.counters.registry.get_sample_value
    same = value("robi_shadow_searches_total", {"qdrant": "same"})
    better = value("robi_shadow_searches_total", {"qdrant": "better"})
    assert same is not None
    assert better is not None
    return same + better, better


def test_a_whole_cache_answers_hybrid_and_qdrant_is_compared_afterwards(
    open_store: OpenStore, gallery: np.ndarray, random: np.random.Generator
) -> None:
    store = open_store()
    for number in range(20):
        found = store.search(gallery[number, 0], strategy=Strategy.HYBRID)
        assert found.best is not None
        assert (found.best.user_id, found.best.source) == (f"p{number}", Source.FAISS)
        assert (found.tiers, found.degraded) == (("faiss",), ())
    store.search(unit(random.standard_normal(DIMENSION)), strategy=Strategy.HYBRID)  # a stranger
    assert eventually(lambda: compared(store)[0] == 21)
    assert compared(store) == (21, 0)


def test_more_answers_than_can_wait_are_compared_in_part_and_the_next_ones_again(
    open_store: OpenStore, gallery: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "MAX_WAITING", 8)
    store = open_store()
    store.search_batch(gallery[:, 0], strategy=Strategy.HYBRID)  # forty at once
    assert eventually(lambda: compared(store) == (8, 0))
    store.search(gallery[3, 0], strategy=Strategy.HYBRID)
    assert eventually(lambda: compared(store) == (9, 0))


def test_faiss_first_and_qdrant_only_have_no_shadow(open_store: OpenStore, gallery: np.ndarray) -> None:
    store = open_store()
    for strategy in (Strategy.FAISS_FIRST, Strategy.QDRANT_ONLY):
        store.search(gallery[3, 0], strategy=strategy)
    store.search(gallery[3, 0], strategy=Strategy.HYBRID)
    assert eventually(lambda: compared(store)[0] > 0)
    assert compared(store) == (1, 0)


def test_a_hung_qdrant_costs_a_whole_cache_nothing(
    open_store: OpenStore, gallery: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store()
    hung, let_go = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        hung.set()
        let_go.wait(30)
        raise Unavailable("tier_unavailable", "It hung.")

    monkeypatch.setattr(store.tiers["qdrant"], "search", hang)
    try:
        for number in range(200):  # more than are kept to be compared
            found = store.search(gallery[number % 40, 0], strategy=Strategy.HYBRID)
            assert found.best is not None
            assert found.best.user_id == f"p{number % 40}"
        assert hung.wait(10)
        assert compared(store) == (0, 0)
    finally:
        let_go.set()


def test_a_cache_that_does_not_see_somebody_is_noticed_and_compared_with_the_ledger(
    open_store: OpenStore, gallery: np.ndarray, feed: MemoryFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(robi_drift_check_minutes=0)
    hot = store.tiers["faiss"]
    unseen = {t.template_id for t in feed.all() if t.user_id == "p7"}
    search = hot.search

    def blind(probes: Embeddings, limit: int, ef: int | None) -> list[list[Hit]]:
        return [[hit for hit in hits if hit.template_id not in unseen] for hits in search(probes, limit, ef)]

    monkeypatch.setattr(hot, "search", blind)
    assert store.upkeep.drifts()["faiss"] is None
    best = store.search(gallery[7, 0], strategy=Strategy.HYBRID).best
    assert best is None or best.user_id != "p7"
    assert eventually(lambda: compared(store) == (1, 1))
    assert store.get_performance_metrics()["hit_rate"]["wrong_cache_top1"] > 0
    assert eventually(lambda: store.upkeep.drifts()["faiss"] is not None)


def test_with_a_cache_of_a_part_hybrid_asks_both_and_waits(
    open_store: OpenStore, gallery: np.ndarray, feed: MemoryFeed
) -> None:
    store = open_store(**PARTIAL)
    old = store.search(gallery[0, 0], strategy=Strategy.HYBRID)
    assert old.best is not None
    assert (old.best.user_id, old.best.source) == ("p0", Source.QDRANT)
    assert old.tiers == ("faiss", "qdrant")


def test_a_qdrant_that_is_slower_than_it_ever_was_is_not_waited_for_to_the_end(
    open_store: OpenStore, gallery: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(**PARTIAL)
    cold = store.tiers["qdrant"]
    for number in range(80):
        store.search(gallery[number % 40, 0], strategy=Strategy.HYBRID)
    assert cold.patience.seconds < 5.0
    let_go = threading.Event()

    def hang(*_: object) -> None:
        let_go.wait(30)
        raise Unavailable("tier_unavailable", "It hung.")

    monkeypatch.setattr(cold, "search", hang)
    try:
        found = store.search(gallery[39, 0], strategy=Strategy.HYBRID)
        assert (found.tiers, found.degraded) == (("faiss",), ("qdrant",))
    finally:
        let_go.set()


def test_strategies_that_need_qdrant_wait_for_it(
    open_store: OpenStore, gallery: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(**PARTIAL)
    cold = store.tiers["qdrant"]
    cold.patience.seconds = 0.01
    search = cold.search

    def slow(*asked: object) -> object:
        time.sleep(0.3)
        return search(*asked)

    monkeypatch.setattr(cold, "search", slow)
    found = store.search(gallery[0, 0], strategy=Strategy.FAISS_FIRST)
    assert found.best is not None
    assert (found.best.user_id, found.degraded) == ("p0", ())
    hurried = store.search(gallery[0, 0], strategy=Strategy.HYBRID)
    assert hurried.degraded == ("qdrant",), "and hybrid says what it did not wait for"
