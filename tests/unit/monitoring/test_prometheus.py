"""What Prometheus is told: the same as `/stats`, by bounded labels, and also while a part is away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.domain.errors import Unavailable
from core.domain.objectives import OBJECTIVES, of_search
from core.domain.search import Candidate, Decision, SearchResult, SearchTimings, Source, Strategy
from core.domain.system import Replica, ServerNode, ServerState, ShardTransfer
from core.metrics.counters import Counters
from core.monitoring import prometheus
from core.runtime.hardware import Cards, Gpu
from core.services.service import RobiService

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def figures(text: bytes) -> Figures:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def of(found: Figures, name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


def total(found: Figures, name: str) -> float:
    return sum(value for (sample, _), value in found.items() if sample == name)


def test_prometheus_and_stats_say_the_same(service: RobiService, photos):
    service.enrollment.enroll("ana", "Ana", [("a.png", photos["hanks"])])
    stranger = np.random.default_rng(1).standard_normal(service.engine.pack.dimension)
    for strategy in Strategy:
        service.recognition.verify(photos["hanks"], strategy=strategy)
        service.matching.search(stranger, strategy=strategy)
    service.metrics.error("no_face")
    service.metrics.failed("busy", 3)
    service.store.upkeep.check_drift()
    found, stats = figures(service.monitor.prometheus()), service.monitor.stats()

    totals = stats["totals"]
    assert total(found, "robi_searches_total") == sum(totals["searches"].values()) == 6
    for strategy in Strategy:
        counted = [
            value
            for (name, labels), value in found.items()
            if name == "robi_search_seconds_count" and ("strategy", strategy.value) in labels
        ]
        assert sum(counted) == totals["searches"][strategy.value] == 2
    for stage, count in totals["stages"].items():
        assert of(found, "robi_stage_seconds_count", stage=stage) == count
    assert of(found, "robi_recognitions_total") == totals["recognitions"] == 3
    assert of(found, "robi_uncounted_searches_total") == totals["uncounted_searches"] == 1
    assert of(found, "robi_search_failures_total", code="busy") == totals["failures"]["busy"] == 3
    assert of(found, "robi_errors_total", code="no_face") == stats["errors"]["no_face"]
    hits, matches = of(found, "robi_cache_hits_total"), of(found, "robi_cache_matches_total")
    queries = of(found, "robi_cache_queries_total")
    assert stats["hit_rate"]["queries"] == queries == 4
    assert stats["hit_rate"]["hit_rate"] == hits / matches
    assert stats["hit_rate"]["served_from_cache"] == of(found, "robi_cache_alone_total") / queries
    assert of(found, "robi_people") == stats["gallery"]["people"]
    assert of(found, "robi_templates") == stats["gallery"]["templates"]
    for tier, state in stats["tiers"].items():
        assert of(found, "robi_tier_templates", tier=tier) == state["templates"]
        assert of(found, "robi_tier_coverage_ratio", tier=tier) == state["coverage"]
        assert of(found, "robi_tier_lag_changes", tier=tier) == stats["follower_lag"][tier]
        assert of(found, "robi_tier_drift_templates", tier=tier, kind="missing") == 0
    for queue, load in stats["queues"].items():
        assert of(found, "robi_queue_batches_total", queue=queue) == load["batches"]
        assert of(found, "robi_queue_probes_total", queue=queue) == load["rows"]
    assert of(found, "robi_hot_bytes") == stats["memory"]["hot_bytes"]
    assert of(found, "process_resident_memory_bytes") > 0


def test_a_search_counts_for_the_objective_that_the_page_shows():
    counters = Counters()
    ana = Candidate("ana", "Ana", 0.7, Source.BOTH, 1)
    for timings in (SearchTimings(29.0, hot=1.0), SearchTimings(49.0, hot=1.0, cold=40.0)):
        result = SearchResult(
            (ana,), Decision.MATCH, Strategy.FAISS_FIRST, 0.4, ("faiss",), (), False, timings
        )
        counters.search(result, of_search(timings).name)
    found = figures(prometheus.text(counters.registry, ()))
    for objective, inside in zip(("hot", "cold"), ("0.03", "0.05"), strict=True):
        labels = {"strategy": "faiss_first", "objective": objective}
        assert of(found, "robi_search_seconds_bucket", le=inside, **labels) == 1
    borders = {dict(labels)["le"] for name, labels in found if name == "robi_search_seconds_bucket"}
    assert {o.limit_ms / 1e3 for o in OBJECTIVES} <= set(map(float, borders))


def test_a_scrape_answers_while_the_ledger_is_away(service: RobiService, monkeypatch):
    def away(*_: object) -> None:
        raise Unavailable("ledger_unavailable", "The ledger cannot be used.")

    monkeypatch.setattr(service.ledger.feed, "counts", away)
    monkeypatch.setattr(service.ledger.feed, "head", away)
    found = figures(service.monitor.prometheus())
    names = {name for name, _ in found}
    assert of(found, "robi_ledger_writable") == 0
    assert of(found, "robi_tier_up", tier="faiss") == 1
    assert not names & {"robi_people", "robi_tier_lag_changes", "robi_tier_coverage_ratio"}


def test_a_cache_that_is_off_is_neither_expected_nor_full(make_service):
    found = figures(make_service(faiss_enabled=False).monitor.prometheus())
    assert of(found, "robi_hot_capacity_templates") == 0
    assert of(found, "robi_hot_bytes") == 0
    assert of(found, "robi_gpu_expected", part="faiss") == 0


@pytest.mark.parametrize("missing", ["utilisation_percent", "memory_used_mb", "temperature_c", "power_w"])
def test_a_figure_that_a_card_does_not_give_is_absent(missing: str):
    card = {
        "utilisation_percent": 1,
        "memory_used_mb": 1,
        "memory_total_mb": 1,
        "temperature_c": 1,
        "power_w": 1.0,
    }
    whole = Gpu(index=0, name="T4", power_limit_w=None, **card)
    less = Gpu(index=0, name="T4", power_limit_w=None, **{**card, missing: None})
    names = [{s.name for s in prometheus.of_cards(Cards((g,), (), None))} for g in (whole, less)]
    assert len(names[0] - names[1]) == 1


def test_scrapes_at_once_see_only_their_own_samples():
    counters = Counters()

    def scrape(number: int) -> float:
        found = figures(prometheus.text(counters.registry, [prometheus.MetricSample("robi_people", number)]))
        return of(found, "robi_people")

    with ThreadPoolExecutor(8) as many:
        assert list(many.map(scrape, range(40))) == list(range(40))


def test_a_server_is_told_by_node_copy_and_colour():
    away = ServerNode("http://b:6333", False, datetime.now(UTC), 3)
    server = ServerState(
        nodes=(ServerNode("http://a:6333", True, datetime.now(UTC), 0), away),
        status="yellow",
        unindexed=7,
        wanted=2,
        replicas=tuple(Replica(n, "http://b:6333", "Dead" if n else "Active") for n in range(3)),
        transfers=(ShardTransfer(0, "http://a:6333", "http://b:6333"),),
    )
    found = {(name, labels): value for name, value, labels in prometheus.of_server(server)}
    assert found["robi_qdrant_node_up", ("http://a:6333",)] == 1
    assert found["robi_qdrant_node_up", ("http://b:6333",)] == 0
    assert found["robi_qdrant_replicas", ("http://b:6333", "Dead")] == 2
    assert found["robi_qdrant_transfers", ()] == 1
    assert found["robi_qdrant_unindexed_vectors", ()] == 7
    assert [found["robi_qdrant_status", (colour,)] for colour in prometheus.STATUSES] == [0, 1, 0, 0]
    nobody = prometheus.of_server(replace(server, nodes=(away,)))
    assert [sample.name for sample in nobody] == ["robi_qdrant_node_up"], "how it was says nothing now"
