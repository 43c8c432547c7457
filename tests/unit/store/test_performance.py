"""The store's own figures: complete, JSON-ready, and the same as what was done."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

import numpy as np
import psutil
import pytest

from core.domain.errors import BadInput, Busy, Unavailable
from core.domain.objectives import dominant, of_search, stages_of_search
from core.domain.search import Strategy
from core.domain.templates import HotSet
from core.store.hybrid import HybridVectorStore
from core.store.search import queue
from core.store.search.batching import ProbeBatch
from core.store.search.plan import COLD, Plan
from core.store.search.search import Search
from tests.unit.store.conftest import OpenStore
from tests.unit.store.kit import MemoryFeed, another_look, eventually, faces, lose

PARTIAL = {"faiss_cache_size": 40}  # of 80 templates


def filled(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, **values: object
) -> HybridVectorStore:
    for number, templates in enumerate(faces(random, 40, 2)):
        feed.enroll(f"p{number}", templates)
    store = open_store(**values)
    assert eventually(lambda: all(state.ok and not state.lag for state in store.states()))
    return store


def test_the_dict_holds_what_was_asked_for_and_is_json(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    store = filled(open_store, feed, random)
    for template in feed.all()[:10]:
        store.search(another_look(random, template.vector), strategy=Strategy.FAISS_FIRST)
    store.search_batch([t.vector for t in feed.all()[:70]])
    found = json.loads(json.dumps(store.get_performance_metrics()))
    by_strategy = found["latency"]["by_strategy"]
    assert {name: row["count"] for name, row in by_strategy.items()} == {
        "hybrid": 70,
        "faiss_first": 10,
        "qdrant_only": 0,
    }
    assert set(by_strategy["hybrid"]) == {"p50", "p95", "p99", "count"}
    assert found["hit_rate"]["hit_rate"] == 1.0
    assert found["error_rate"] == 0.0
    assert found["gallery"] == {"people": 40, "templates": 80}
    assert found["follower_lag"] == {"faiss": 0, "qdrant": 0}
    assert found["queues"]["search"]["rows"] == 80
    assert found["memory"]["hot_bytes_per_template"] >= 4 * 128
    assert found["qdrant"]["ok"] is True
    assert found["qdrant"]["points"] == 80
    assert found["throughput"]["searches_per_s"] > 0


def test_searches_that_are_not_counted_leave_no_trace(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    store = filled(open_store, feed, random)
    before = store.get_performance_metrics()["hit_rate"]
    store.search(feed.all()[0].vector, counted=False)
    assert store.get_performance_metrics()["hit_rate"] == before


def test_refused_searches_raise_the_error_rate(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MAX_QUEUED", 1)
    store = filled(open_store, feed, random)
    probe = feed.all()[0].vector
    store.search(probe)
    store.search(probe)
    with pytest.raises(Busy):
        store.search_batch([probe, probe])
    assert store.get_performance_metrics()["error_rate"] == 0.5
    with pytest.raises(BadInput):
        store.search(probe[:5])
    assert store.get_performance_metrics()["error_rate"] == 0.5, "the caller's mistake is no failure of ours"


def test_a_tier_is_not_charged_for_the_other_one_that_took_longer(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(open_store, feed, random, **PARTIAL)  # the cache alone is not enough
    cold, hot = store.tiers["qdrant"], store.tiers["faiss"]
    answered = threading.Event()
    ask, search = cold.ask, hot.search

    def watched(*asked: object) -> object:
        future = ask(*asked)
        future.add_done_callback(lambda _: answered.set())
        return future

    def slow(*asked: object) -> object:
        found = search(*asked)
        assert answered.wait(10)
        time.sleep(0.05)
        return found

    monkeypatch.setattr(cold, "ask", watched)
    monkeypatch.setattr(hot, "search", slow)
    timings = store.search(feed.all()[-1].vector, strategy=Strategy.HYBRID).timings
    assert timings.cold < timings.hot
    assert dominant(stages_of_search(Strategy.HYBRID, timings)) == "hot"


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_search_that_waited_for_a_tier_in_vain_is_charged_to_that_tier(
    open_store: OpenStore,
    feed: MemoryFeed,
    random: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    strategy: Strategy,
) -> None:
    store = filled(open_store, feed, random, **PARTIAL)

    def failing(*_: object) -> None:
        time.sleep(0.05)
        raise Unavailable("tier_unavailable", "It broke off.")

    monkeypatch.setattr(store.tiers["qdrant"], "search", failing)
    monkeypatch.setattr("core.store.search.search.enough", lambda *_, **__: False)  # faiss_first goes on, too
    found = store.search(feed.all()[-1].vector, strategy=strategy)
    assert found.tiers == ("faiss",)
    assert found.degraded == ("qdrant",)
    assert of_search(found.timings).name == "cold"
    assert dominant(stages_of_search(strategy, found.timings)) == "cold"


def test_a_comparison_with_the_ledger_is_on_record(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    store = filled(open_store, feed, random)
    assert store.get_performance_metrics()["drift"] == {"faiss": None, "qdrant": None}
    assert [drift.ok for drift in store.upkeep.check_drift()] == [True, True]
    lose(store.hot, 1, 2)
    (found,) = store.upkeep.check_drift("faiss")
    assert (found.ok, found.missing, found.extra) == (False, 2, 0)
    assert store.get_performance_metrics()["drift"]["faiss"]["missing"] == 2
    assert store.upkeep.check_drift("faiss")[0].ok, "what was found was put right"
    with pytest.raises(BadInput):
        store.upkeep.check_drift("ledger")


def test_searches_are_answered_while_the_hot_tier_loads(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = faces(random, 30, 2)
    for number, templates in enumerate(gallery):
        feed.enroll(f"p{number}", templates)
    gate, whole = threading.Event(), feed.hot_set

    def slow(limit: int, *, progress: Callable[[float], None], **options: int) -> HotSet:
        progress(0.5)
        assert gate.wait(60)
        return whole(limit, progress=progress, **options)

    monkeypatch.setattr(feed, "hot_set", slow)
    store = open_store()
    assert eventually(lambda: store.states()[1].ok and store.states()[0].progress is not None)
    assert eventually(lambda: store.states()[0].progress == pytest.approx(0.45))
    warming = store.states()[0]
    assert warming.error is not None
    assert "Loading 60 templates" in warming.error
    for strategy in Strategy:
        result = store.search(gallery[7, 0], strategy=strategy)
        assert result.best is not None
        assert result.best.user_id == "p7"
    gate.set()
    assert eventually(lambda: store.states()[0].ok and store.states()[0].progress is None)
    assert store.search(gallery[7, 0], strategy=Strategy.FAISS_FIRST).tiers == ("faiss",)


def test_one_part_that_cannot_be_closed_keeps_no_other_open(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(open_store, feed, random)
    child = store.tiers[COLD].tier.pid
    assert child is not None
    close = store.hot.close
    monkeypatch.setattr(store.hot, "close", lambda: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        store.close()
    assert eventually(lambda: not psutil.pid_exists(child))
    monkeypatch.setattr(store.hot, "close", close)


def test_a_strategy_that_there_is_not_is_refused(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    store = filled(open_store, feed, random)
    with pytest.raises(BadInput) as refused:
        store.search(feed.all()[0].vector, strategy="fastest")
    assert refused.value.code == "bad_strategy"
    assert store.search(feed.all()[0].vector, strategy="faiss_first").strategy is Strategy.FAISS_FIRST


def test_the_time_of_a_search_includes_its_wait_in_the_queue(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    store = filled(open_store, feed, random)
    plan = Plan(Strategy.FAISS_FIRST, store.rule(), k=5, search_ef=64)
    an_hour_ago = time.perf_counter() - 3600.0
    search = Search(store.tiers, store.hot, feed)
    (outcome,) = search.run(ProbeBatch(feed.all()[0].vector[None], plan, (an_hour_ago,)))
    assert outcome.result.timings.total >= 3.6e6
