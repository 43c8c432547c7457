"""Percentiles against numpy, the cache's rates by hand, and the Prometheus text."""

import numpy as np
import pytest

from core import metrics
from core.metrics import Metrics
from core.types import Candidate, Decision, SearchResult, SearchTimings, Source, Strategy, TierState


def result(
    ms: float = 1.0,
    *,
    strategy: Strategy = Strategy.HYBRID,
    decision: Decision = Decision.MATCH,
    source: Source = Source.BOTH,
    tiers: tuple[str, ...] = ("faiss", "qdrant"),
    wrong: bool = False,
) -> SearchResult:
    ana = Candidate("ana", "Ana", 0.7, source, 1)
    return SearchResult((ana,), decision, strategy, 0.4, tiers, (), wrong, SearchTimings(ms, hot=ms / 2))


def test_percentiles_are_numpys():
    ms = np.random.default_rng(3).gamma(2.0, 3.0, size=500)
    measured = Metrics()
    for value in ms:
        measured.search(result(float(value)))
    seen = measured.snapshot()["latency"]["by_strategy"]["hybrid"]
    assert seen["count"] == 500
    for name, share in (("p50", 50), ("p95", 95), ("p99", 99)):
        assert seen[name] == pytest.approx(np.percentile(ms, share), abs=1e-3)


def test_a_strategy_without_searches_has_no_percentiles_rather_than_zeros():
    assert Metrics().snapshot()["latency"]["by_strategy"]["qdrant_only"] == {
        "p50": None,
        "p95": None,
        "p99": None,
        "count": 0,
    }


def test_the_hit_rate_counts_accepted_queries_that_asked_the_cache():
    measured = Metrics()
    measured.search(result(source=Source.BOTH))
    measured.search(result(source=Source.QDRANT, wrong=True))
    measured.search(result(strategy=Strategy.FAISS_FIRST, source=Source.FAISS, tiers=("faiss",)))
    measured.search(result(decision=Decision.UNKNOWN))
    measured.search(result(strategy=Strategy.QDRANT_ONLY, source=Source.QDRANT, tiers=("qdrant",)))
    assert measured.snapshot()["hit_rate"] == {
        "hit_rate": round(2 / 3, 4),
        "served_from_cache": 0.25,
        "wrong_cache_top1": 0.25,
        "unknown": 0.25,
        "queries": 4,
    }


def test_the_series_has_a_point_per_step_and_fills_gaps(monkeypatch: pytest.MonkeyPatch):
    now = 1_000_000.0
    monkeypatch.setattr(metrics.time, "time", lambda: now)
    measured = Metrics()
    for _ in range(10):
        measured.search(result(2.0))
    now += 17.0
    series = measured.snapshot()["series"]
    assert series["t"] == [1_000_000.0, 1_000_005.0, 1_000_010.0, 1_000_015.0]
    assert series["searches_per_s"] == [2.0, 0.0, 0.0, 0.0]
    assert series["p95_ms"] == [2.0, None, None, None]


def test_the_series_stays_bounded_over_a_long_gap(monkeypatch: pytest.MonkeyPatch):
    now = 1_000_000.0
    monkeypatch.setattr(metrics.time, "time", lambda: now)
    measured = Metrics()
    now += 1e6
    series = measured.snapshot()["series"]
    assert len(series["t"]) == 180
    assert series["t"][-1] == 2_000_000.0


def test_a_clock_set_back_breaks_nothing(monkeypatch: pytest.MonkeyPatch):
    now = 1_000_000.0
    monkeypatch.setattr(metrics.time, "time", lambda: now)
    measured = Metrics()
    now -= 3600
    measured.search(result())
    assert sum(measured.snapshot()["series"]["searches_per_s"]) > 0


def test_prometheus_text_has_the_searches_stages_errors_and_tiers(service):
    measured = Metrics()
    measured.search(result())
    measured.error("no_face")
    text = measured.prometheus(2, 6, service.store.states()).decode()
    assert 'robi_searches_total{decision="match",strategy="hybrid"} 1.0' in text
    assert 'robi_stage_seconds_count{stage="hot"} 1.0' in text
    assert 'robi_errors_total{code="no_face"} 1.0' in text
    assert "robi_people 2.0" in text
    assert "robi_templates 6.0" in text
    assert 'robi_tier_up{tier="faiss"} 1.0' in text
    assert isinstance(service.store.states()[0], TierState)
