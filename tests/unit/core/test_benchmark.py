"""The comparison of strategies agrees with itself, and with the exact search, on a real gallery."""

import numpy as np
import pytest

from core import benchmark
from core.errors import Unusable
from core.types import NewTemplate, Strategy


def fill(service, people: int) -> None:
    rng = np.random.default_rng(1)
    for number in range(people):
        vectors = rng.standard_normal((2, service.engine.pack.dimension)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        templates = [NewTemplate(vector, 0.9, "api") for vector in vectors]
        service.ledger.enroll(f"p{number}", f"Person {number}", templates)
    assert service.store.sync(service.ledger.head()) == ()


def test_an_empty_gallery_says_what_is_missing(service):
    with pytest.raises(Unusable) as problem:
        benchmark.run(service, 10)
    assert problem.value.code == "empty_gallery"


def test_all_strategies_agree_with_the_exact_search_at_full_coverage(service):
    fill(service, 40)
    steps: list[float] = []
    run = benchmark.run(service, 50, seed=7, progress=steps.append)
    assert [row.strategy for row in run.rows] == list(Strategy)
    assert (run.probes, run.gallery_templates, run.seed) == (50, 80, 7)
    assert steps[-1] == 1.0
    for row in run.rows:
        assert row.n == len(row.latencies_ms) == 50
        assert row.recall_at_1 == 1.0
        assert row.agreement == 1.0
        assert sum(row.sources.values()) == pytest.approx(1.0)
        assert row.p50_ms <= row.p95_ms <= row.p99_ms


def test_a_run_is_not_counted_among_the_live_searches(service):
    fill(service, 3)
    benchmark.run(service, 5)
    assert service.stats()["throughput"]["searches_per_s"] == 0


def test_one_probe_through_every_strategy(service):
    fill(service, 3)
    probe = service.ledger.templates("p1")[0].vector
    results = benchmark.compare(service, probe)
    assert set(results) == set(Strategy)
    assert {result.best.user_id for result in results.values()} == {"p1"}


def test_probes_have_the_stated_similarity_and_share_of_strangers():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((20, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    probes = benchmark._probes(vectors, 100, rng)
    best = (probes @ vectors.T).max(axis=1)
    assert np.allclose(np.linalg.norm(probes, axis=1), 1, atol=1e-5)
    assert np.isclose(best, benchmark.SIMILARITY, atol=1e-4).sum() >= 75
    assert (best < 0.5).sum() == 20
