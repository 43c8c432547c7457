"""/stats and /metrics tell the same, for they count in one place."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.routing import Mount

from api.app import create_api, root_routes
from core.live import LiveSessions
from core.metrics.ranges import RANGES
from core.services.service import RobiService
from tests.ledger_faults import unreadable
from tests.unit.api.conftest import Photos, Resources

with warnings.catch_warnings():  # it would rather have a newer HTTP client
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient


@pytest.fixture
def service(make_service: Callable[..., RobiService]) -> RobiService:
    return make_service()


@pytest.fixture
def client(service: RobiService) -> Iterator[TestClient]:
    """A Robi of the test's own, so that everything it counts is the test's."""
    resources = Resources(service.settings, service, LiveSessions(service))
    api, root = create_api(lambda: resources), root_routes(lambda: resources)
    with TestClient(Starlette(routes=[*root, Mount("/api/v1", app=api)])) as client:
        yield client
    for inner in (api, root[0].app):
        inner.state.backend.close()


def samples(client: TestClient) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


@pytest.fixture
def busy(client: TestClient, photos: Photos) -> TestClient:
    random = np.random.default_rng(3)
    client.post(
        "/api/v1/enroll", data={"user_id": "e"}, files={"images": ("a.png", photos.astronaut, "image/png")}
    )
    for strategy in ("hybrid", "hybrid", "faiss_first", "qdrant_only"):
        body = {"embedding": random.standard_normal(128).tolist(), "strategy": strategy}
        assert client.post("/api/v1/search", json=body).status_code == 200
    client.post("/api/v1/verify", files={"image": ("a.png", photos.astronaut, "image/png")})
    client.post("/api/v1/verify", files={"image": ("a.png", b"nonsense", "image/png")})
    return client


def test_stats_and_metrics_have_the_same_numbers(busy: TestClient):
    stats, metrics = busy.get("/stats").json(), samples(busy)
    totals, window = stats["totals"], stats["window"]

    def counted(name: str, label: str) -> float:
        return sum(value for key, value in metrics.items() if key[0] == name and label in key[1:])

    for strategy, count in totals["searches"].items():
        assert counted("robi_searches_total", strategy) == count
        assert window["latency"]["by_strategy"][strategy]["count"] == count
    for stage, count in totals["stages"].items():
        assert metrics["robi_stage_seconds_count", stage] == count
        assert window["latency"]["by_stage"][stage]["count"] == count
    assert metrics["robi_recognitions_total",] == totals["recognitions"] == window["recognitions"]
    assert metrics["robi_uncounted_searches_total",] == totals["uncounted_searches"]
    for code, count in stats["errors"].items():
        assert metrics["robi_errors_total", code] == count == window["errors"][code]
    assert metrics["robi_people",] == stats["gallery"]["people"]
    assert metrics["robi_templates",] == stats["gallery"]["templates"]
    for name, tier in stats["tiers"].items():
        assert metrics["robi_tier_templates", name] == tier["templates"]
        assert metrics["robi_tier_lag_changes", name] == tier["lag"] == stats["follower_lag"][name]
    assert sum(totals["searches"].values()) == 5


def test_percentiles_and_objectives_agree_with_the_histograms_of_metrics(busy: TestClient):
    stats, metrics = busy.get("/stats").json(), samples(busy)
    for strategy, row in stats["window"]["latency"]["by_strategy"].items():
        total = sum(
            value
            for key, value in metrics.items()
            if key[0] == "robi_search_seconds_sum" and strategy in key[1:]
        )
        assert row["p50"] / 1e3 <= total * 1.03  # no value is above the sum of all
    kept = {one["name"]: one for one in stats["objectives"]}
    assert kept["enroll"]["requests"] == metrics["robi_stage_seconds_count", "enroll"] == 1
    assert kept["hot"]["requests"] + kept["cold"]["requests"] == 5


@pytest.mark.parametrize("name", list(RANGES))
def test_every_range_is_offered_and_has_the_latest_search(busy: TestClient, name: str):
    stats = busy.get("/stats", params={"range": name}).json()
    assert stats["range"]["name"] == name
    assert stats["window"]["searches"] == 5
    assert len(stats["series"]["t"]) <= stats["range"]["seconds"] // stats["range"]["step"]


def test_an_unknown_range_is_refused_in_words(busy: TestClient):
    answer = busy.get("/stats", params={"range": "1year"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_parameter"
    assert "5min" in answer.json()["error"]["hint"]


def test_slow_requests_carry_the_request_id_and_nothing_personal(busy: TestClient, photos: Photos):
    answer = busy.post(
        "/api/v1/verify",
        files={"image": ("a.png", photos.astronaut, "image/png")},
        headers={"X-Request-ID": "slow-request-1"},
    )
    assert answer.status_code == 200
    slow = busy.get("/stats").json()["slow"]
    assert "slow-request-1" in {one["request_id"] for one in slow}
    assert {key for one in slow for key in one} == {
        "at",
        "kind",
        "strategy",
        "total_ms",
        "stages",
        "request_id",
    }
    assert all(isinstance(ms, float) for one in slow for ms in one["stages"].values())


def test_health_tells_the_last_error_after_it_has_passed(client: TestClient, service: RobiService):
    with unreadable(service.settings.robi_data_dir / "ledger.db"):
        down, stats = client.get("/health"), client.get("/stats")
        cold = client.get("/api/v1/performance/qdrant")
    assert stats.status_code == 503
    assert stats.json()["error"]["code"] == "ledger_unavailable"
    assert cold.status_code == 200
    assert cold.json()["seq_lag"] is None
    assert down.status_code == 503
    assert down.json()["components"].keys() == {"faces", "faiss", "qdrant", "ledger"}
    ledger = client.get("/health").json()["components"]["ledger"]
    assert ledger["status"] == "ok"
    assert ledger["last_error"] == "The ledger cannot be used (SQLITE_ERROR)."
    assert ledger["last_error_at"] is not None
