"""A hot tier on trial beside the live one, retuning the live one, and how far a search looks into a graph."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import replace

import faiss
import numpy as np
import pytest

from core.config.tuning import Tuning
from core.domain.errors import Unavailable
from core.domain.search import Strategy
from core.store import trial as trials
from core.store.hybrid import HybridVectorStore
from core.store.search.plan import COLD
from core.store.tiers.edge.wire import SEARCH_EF
from core.store.tiers.faiss import index as indexes
from core.store.tiers.faiss.tier import HotTier
from core.store.trial import Trial, TrialOptions
from tests.unit.store.conftest import OpenStore
from tests.unit.store.kit import MemoryFeed, another_look, eventually, faces, oracle, settings

PEOPLE = 700  # enough to train an IVF index on


@pytest.fixture
def gallery(feed: MemoryFeed, random: np.random.Generator) -> np.ndarray:
    made = faces(random, PEOPLE, 2)
    for number, vectors in enumerate(made):
        feed.enroll(f"p{number}", vectors)
    return made


def search(trial: Trial, probe: np.ndarray, strategy: Strategy = Strategy.HYBRID):
    return trial.search(probe, strategy=strategy, search_ef=128)


def hot_kind(store: HybridVectorStore) -> str:
    return store.states()[0].kind


def nprobe(store: HybridVectorStore) -> int:
    return store.hot.snapshot.index.nprobe


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own elsewhere")
def test_building_gives_way_and_searching_does_not(
    open_store: OpenStore, gallery: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    load, seen, own = HotTier.load, [], niceness()

    def watched(self: HotTier):
        seen.append(niceness())
        return load(self)

    store = open_store()
    monkeypatch.setattr(HotTier, "load", watched)
    with store.trial(TrialOptions(1.0, "Flat")):
        assert seen == [max(own, trials.NICENESS)]
        assert niceness() == own
        searching = [thread for thread in threading.enumerate() if thread.name.startswith("trial-")]
        assert searching
        for thread in searching:
            assert os.getpriority(os.PRIO_PROCESS, thread.native_id) == own


class Enough(Exception):
    """The pause says that the work is to end."""


@pytest.mark.parametrize("index_type", ["Flat", "PQfs", "IVF", "IVFPQ"])
@pytest.mark.slow
def test_building_ends_at_any_pause_and_leaves_nothing_behind(
    open_store: OpenStore, gallery: np.ndarray, monkeypatch: pytest.MonkeyPatch, index_type: str
) -> None:
    store = open_store()
    monkeypatch.setattr(indexes, "ADDED_AT_ONCE", 400)
    monkeypatch.setitem(indexes.FEWEST, "IVFPQ", 624)
    seen = 0

    def pause() -> None:
        nonlocal seen
        seen += 1
        if seen == last:
            raise Enough

    last = -1
    with store.trial(TrialOptions(1.0, index_type, pause=pause)):
        every, seen = seen, 0
    assert every >= {"Flat": 1, "PQfs": 6, "IVF": 16, "IVFPQ": 16}[index_type]
    for last in range(1, every + 1):
        seen = 0
        with pytest.raises(Enough):
            store.trial(TrialOptions(1.0, index_type, pause=pause))
        assert seen == last
        assert not any(thread.name.startswith("trial") for thread in threading.enumerate())
    assert store.search(gallery[5, 0]).best.user_id == "p5"


def test_lists_trained_with_pauses_are_those_that_faiss_trains_in_one_go(gallery: np.ndarray) -> None:
    vectors = gallery.reshape(-1, gallery.shape[2])
    faiss.omp_set_num_threads(1)
    whole = faiss.index_factory(vectors.shape[1], "IVF35,SQfp16", faiss.METRIC_INNER_PRODUCT)
    whole.train(vectors)
    whole.add(vectors)
    paused = indexes.build(indexes.IndexOptions("IVF", nlist=35), vectors).index.faiss_index
    assert paused.nlist == 35
    assert np.allclose(paused.quantizer.reconstruct_n(0, 35), whole.quantizer.reconstruct_n(0, 35), atol=1e-5)
    assert np.array_equal(paused.search(vectors[:50], 5)[1], whole.search(vectors[:50], 5)[1])


def test_logs_tell_a_cache_on_trial_from_the_live_one(
    open_store: OpenStore, gallery: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store()
    assert eventually(lambda: store.states()[0].ok)
    caplog.set_level("INFO")
    caplog.clear()
    with store.trial(TrialOptions(1.0, "Flat")):
        said = [record.getMessage() for record in caplog.records]
    assert said
    assert all("on trial" in line and "hot tier" not in line and "faiss" not in line for line in said), said


def tuned(**values: object) -> Tuning:
    return replace(Tuning.of(settings()), **values)


# ---------------------------------------------------------------- trials


@pytest.mark.parametrize("coverage", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("index_type", ["Flat", "PQfs", "IVF"])
def test_a_trial_holds_whole_people_and_finds_what_the_oracle_finds(
    open_store: OpenStore,
    feed: MemoryFeed,
    gallery: np.ndarray,
    random: np.random.Generator,
    coverage: float,
    index_type: str,
) -> None:
    store = open_store(faiss_index_type="Flat")
    assert eventually(lambda: store.states()[1].ok)
    with store.trial(TrialOptions(coverage, index_type)) as trial:
        assert 0.9 * coverage * 2 * PEOPLE < trial.templates <= coverage * 2 * PEOPLE + 1
        persons = trial.hot.snapshot.rows.persons[: trial.templates]
        assert set(np.unique(persons, return_counts=True)[1]) == {2}
        assert trial.kind.startswith("Flat" if 2 * PEOPLE * coverage < 624 else index_type)
        assert trial.memory_bytes > trial.templates * 4 * 128
        for number in random.integers(PEOPLE, size=15):
            probe = another_look(random, gallery[number, 0])
            people, decision = oracle(feed, probe, 5, store.rule())
            for strategy in Strategy:
                found = search(trial, probe, strategy)
                assert found.decision is decision
                assert found.best.user_id == people[0][0]
                if strategy is not Strategy.FAISS_FIRST:
                    assert [c.user_id for c in found.candidates] == [user_id for user_id, _ in people]


def test_a_trial_counts_nowhere_and_leaves_the_live_store_as_it_was(
    open_store: OpenStore, gallery: np.ndarray
) -> None:
    store = open_store(faiss_cache_size=100)
    held = set(store.hot.ids().tolist())
    latencies = store.cold_info()["latencies_ms"]
    with store.trial(TrialOptions(1.0, "PQfs")) as trial:
        for number in range(30):
            assert search(trial, gallery[number, 0]).best.user_id == f"p{number}"
        assert hot_kind(store) == "Flat"
        threads = {thread.name for thread in threading.enumerate()}
        assert any(name.startswith("trial") for name in threads)
    assert set(store.hot.ids().tolist()) == held
    assert store.metrics.snapshot().hit_rate.queries == 0
    assert store.loads()["search"].rows == 0
    assert store.cold_info()["latencies_ms"] == latencies
    assert not any(thread.name.startswith("trial") for thread in threading.enumerate())
    assert store.search(gallery[5, 0]).best.user_id == "p5", "closing it closes nothing of the live store"
    trial.close()


def test_without_options_a_trial_has_only_the_cold_tier(open_store: OpenStore, gallery: np.ndarray) -> None:
    with open_store().trial(None) as trial:
        result = search(trial, gallery[3, 0], Strategy.QDRANT_ONLY)
        assert (result.tiers, result.best.user_id) == (("qdrant",), "p3")
        assert (trial.kind, trial.templates, trial.memory_bytes) == (None, 0, 0)


def test_who_is_erased_meanwhile_is_found_by_no_trial(
    open_store: OpenStore, feed: MemoryFeed, gallery: np.ndarray
) -> None:
    store = open_store()
    with store.trial(TrialOptions(1.0)) as trial:
        _, seq = feed.erase("p7")
        store.sync(seq)
        for strategy in Strategy:
            assert "p7" not in {c.user_id for c in search(trial, gallery[7, 0], strategy).candidates}


def test_a_trial_that_does_not_fit_is_refused_before_it_is_loaded(
    open_store: OpenStore, feed: MemoryFeed, gallery: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store()
    monkeypatch.setattr(trials, "free_memory", lambda: 1 << 20)
    monkeypatch.setattr(feed, "hot_set", lambda *_a, **_k: pytest.fail("it was loaded"))
    with pytest.raises(Unavailable) as problem:
        store.trial(TrialOptions(1.0))
    assert problem.value.code == "not_enough_memory"
    assert "1,400 templates" in problem.value.message


def test_another_nprobe_needs_no_other_index(open_store: OpenStore, gallery: np.ndarray) -> None:
    with open_store().trial(TrialOptions(1.0, "IVF", nprobe=1)) as trial:
        index = trial.hot.snapshot.index
        narrow = [len(trial.hot.search(gallery[:40, 0], 30)[row]) for row in range(40)]
        trial.look_into("IVF", 16)
        wide = [len(trial.hot.search(gallery[:40, 0], 30)[row]) for row in range(40)]
        assert trial.hot.snapshot.index.faiss_index is index.faiss_index
        assert (index.nprobe, trial.hot.snapshot.index.nprobe) == (1, 16)
        assert sum(wide) >= sum(narrow)


def test_a_trace_tells_what_ran_at_once_and_what_after(open_store: OpenStore, gallery: np.ndarray) -> None:
    store = open_store(faiss_cache_size=30)
    result, marks = store.trace(gallery[4, 0], strategy=Strategy.HYBRID)
    assert result.best.user_id == "p4"
    by = {mark.stage: mark for mark in marks}
    assert by["faiss"].began == by["qdrant"].began
    assert max(by["faiss"].ended, by["qdrant"].ended) <= by["join"].began <= by["join"].ended
    assert by["join"].ended <= by["merge"].began <= by["merge"].ended
    assert result.timings.hot == pytest.approx(1e3 * (by["faiss"].ended - by["faiss"].began))
    assert result.timings.merge == pytest.approx(1e3 * (by["merge"].ended - by["merge"].began))
    assert store.loads()["search"].rows == 0


# ---------------------------------------------------------------- retuning


def test_another_kind_of_index_comes_into_service_while_searches_go_on(
    open_store: OpenStore, gallery: np.ndarray
) -> None:
    store = open_store(faiss_index_type="Flat")
    slowest, stop = [0.0], threading.Event()

    def keep_searching() -> None:
        while not stop.is_set():
            started = time.monotonic()
            assert store.search(gallery[9, 0]).best.user_id == "p9"
            slowest[0] = max(slowest[0], time.monotonic() - started)

    searching = threading.Thread(target=keep_searching)
    searching.start()
    try:
        for wanted in ("PQfs", "IVF", "SQfp16", "Flat"):
            store.retune(tuned(index_type=wanted))
            assert eventually(lambda wanted=wanted: hot_kind(store).startswith(wanted)), wanted
            assert store.states()[0].ok
    finally:
        stop.set()
        searching.join()
    assert slowest[0] > 0


def test_nprobe_takes_effect_at_once_and_stays_through_upkeep(
    open_store: OpenStore, feed: MemoryFeed, gallery: np.ndarray, random: np.random.Generator
) -> None:
    store = open_store(faiss_index_type="IVF", faiss_nprobe=4)
    index = store.hot.snapshot.index
    store.retune(tuned(index_type="IVF", nprobe=7))
    assert nprobe(store) == 7
    assert store.hot.snapshot.index.faiss_index is index.faiss_index, "nothing was built"
    for number, vectors in enumerate(faces(random, 1200, 2)):
        feed.enroll(f"new{number}", vectors)
    store.sync(feed.head())
    assert eventually(lambda: store.hot.snapshot.index.faiss_index is not index.faiss_index)
    assert nprobe(store) == 7


def test_more_lists_than_there_are_is_said(open_store: OpenStore, gallery: np.ndarray) -> None:
    store = open_store(faiss_index_type="IVF", faiss_nprobe=4)
    assert store.states()[0].error is None
    store.retune(tuned(index_type="IVF", nprobe=5000))
    assert "a search looks into all of them" in (store.states()[0].error or "")
    assert nprobe(store) == 2 * PEOPLE // 39
    store.retune(tuned(index_type="IVF", nprobe=4))
    assert store.states()[0].error is None


def test_a_kind_that_needs_more_templates_is_said(open_store: OpenStore, feed: MemoryFeed) -> None:
    feed.enroll("ana", faces(np.random.default_rng(1), 1, 2)[0])
    store = open_store(faiss_index_type="Flat")
    store.retune(tuned(index_type="IVF"))
    assert eventually(lambda: "Flat serves until then" in (store.states()[0].error or ""))
    store.retune(tuned(index_type="Flat"))
    assert eventually(lambda: store.states()[0].error is None)


def test_a_retuned_store_reloads_as_it_was_retuned(open_store: OpenStore, gallery: np.ndarray) -> None:
    store = open_store(faiss_index_type="Flat")
    store.retune(tuned(index_type="PQfs"))
    assert eventually(lambda: hot_kind(store) == "PQfs")
    store.upkeep.rebuild("faiss")
    assert hot_kind(store) == "PQfs"


def test_threshold_and_margin_follow_the_tuning(open_store: OpenStore, gallery: np.ndarray) -> None:
    store = open_store()
    store.retune(tuned(threshold=0.99, margin=0.2))
    rule = store.rule()
    assert (rule.threshold, rule.margin) == (0.99, 0.2)
    assert store.search(gallery[0, 0]).threshold == 0.99


# ---------------------------------------------------------------- ef


def test_the_tunings_ef_reaches_the_cold_tier_with_every_search(
    open_store: OpenStore, gallery: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store()
    asked: list[int | None] = []
    search_cold = store.tiers[COLD].tier.search

    def watched(probes, limit, ef=None):
        asked.append(ef)
        return search_cold(probes, limit, ef)

    monkeypatch.setattr(store.tiers[COLD].tier, "search", watched)
    store.search(gallery[0, 0], strategy=Strategy.QDRANT_ONLY)
    store.retune(tuned(search_ef=33))
    store.search(gallery[0, 0], strategy=Strategy.HYBRID)
    with store.trial(TrialOptions(0.5)) as trial:
        trial.search(gallery[0, 0], strategy=Strategy.QDRANT_ONLY, search_ef=7)
    assert asked == [SEARCH_EF, 33, 7]
