"""The JSON of `/stats` and of the store's own dict: other programs read it by these names and types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from core.runtime.hardware import Cards, Gpu, GpuSampler, LostGpu
from core.services.service import RobiService
from tests.unit.store.kit import eventually

WHOLE, NUMBER, SHARE = (int,), (int, float), (float, int, type(None))
TEXT, TEXT_OR_NONE, YES_OR_NO = (str,), (str, type(None)), (bool,)
COUNTS = {...: WHOLE}
COLUMN = [SHARE]

PERCENTILES = {"p50": SHARE, "p95": SHARE, "p99": SHARE}
LATENCY = {
    "by_strategy": {
        name: {**PERCENTILES, "count": WHOLE} for name in ("hybrid", "faiss_first", "qdrant_only")
    },
    "by_stage": {...: {**PERCENTILES, "count": WHOLE}},
}
THROUGHPUT = {"searches_per_s": NUMBER, "recognitions_per_s": NUMBER}
HIT_RATE = {
    "hit_rate": SHARE,
    "served_from_cache": SHARE,
    "wrong_cache_top1": SHARE,
    "unknown": SHARE,
    "queries": WHOLE,
}
SERIES = {
    **dict.fromkeys(("t", "seconds", "failed"), COLUMN),
    **dict.fromkeys(("searches_per_s", "recognitions_per_s", "p95_ms", "hit_rate", "error_rate"), COLUMN),
    "by_strategy": {...: dict.fromkeys(PERCENTILES, COLUMN)},
    "by_stage": {...: dict.fromkeys(PERCENTILES, COLUMN)},
    **{name: {...: COLUMN} for name in ("errors", "gauges", "peaks")},
}
TIER = {
    "name": TEXT,
    "kind": TEXT,
    "ok": YES_OR_NO,
    "templates": WHOLE,
    "seq": WHOLE,
    "lag": WHOLE,
    "coverage": NUMBER,
    "since": TEXT,
    "answers": YES_OR_NO,
    "progress": SHARE,
    "error": TEXT_OR_NONE,
}
DRIFT = {
    "tier": TEXT,
    "at": TEXT,
    **dict.fromkeys(("ledger_count", "tier_count", "missing", "extra", "seq"), WHOLE),
    "ok": YES_OR_NO,
}
LOAD = {**dict.fromkeys(("queued", "batches", "rows"), WHOLE), "mean_batch": SHARE}
COLD = {
    "mode": TEXT,
    "ok": YES_OR_NO,
    "error": TEXT_OR_NONE,
    "segments": WHOLE,
    "index": TEXT,
    "building": TEXT_OR_NONE,
    "put_off": TEXT_OR_NONE,
    **dict.fromkeys(("erased", "retries", "restarts", "errors", "points", "seq", "seq_lag"), WHOLE),
    "latencies_ms": PERCENTILES,
}
MEMORY = dict.fromkeys(("rss_mb", "total_mb", "available_mb", "hot_bytes", "hot_bytes_per_template"), WHOLE)
STORE = {
    "gallery": {"people": WHOLE, "templates": WHOLE},
    "tiers": {"faiss": TIER, "qdrant": TIER},
    "follower_lag": {"faiss": WHOLE, "qdrant": WHOLE},
    "drift": {"faiss": DRIFT, "qdrant": DRIFT},
    "latency": LATENCY,
    "throughput": THROUGHPUT,
    "hit_rate": HIT_RATE,
    "errors": COUNTS,
    "error_rate": SHARE,
    "series": SERIES,
    "totals": {
        "searches": dict.fromkeys(LATENCY["by_strategy"], WHOLE),
        "stages": COUNTS,
        "recognitions": WHOLE,
        "failures": COUNTS,
        "uncounted_searches": WHOLE,
    },
    "uptime_s": NUMBER,
    "queues": {"search": LOAD, "faiss": LOAD, "qdrant": LOAD},
    "memory": MEMORY,
    "qdrant": COLD,
}
OBJECTIVES = [
    {
        "name": TEXT,
        "requests_are": TEXT,
        "limit_ms": NUMBER,
        "requests": WHOLE,
        "inside": SHARE,
        "outside": WHOLE,
        "burned_by": {...: NUMBER},
    }
]
NO_GPU = {"available": YES_OR_NO, "lost": YES_OR_NO, "name": TEXT_OR_NONE, "reason": TEXT_OR_NONE}
FIGURES = ("utilisation_percent", "memory_used_mb", "memory_total_mb", "temperature_c", "power_w")
GPU = {"index": WHOLE, "name": TEXT, **dict.fromkeys((*FIGURES, "power_limit_w"), SHARE)}
STATS = {
    **STORE,
    "memory": {**MEMORY, "children_mb": WHOLE},
    "range": {"name": TEXT, "seconds": WHOLE, "step": WHOLE, "until": NUMBER},
    "window": {
        "observed_s": NUMBER,
        "searches": WHOLE,
        "recognitions": WHOLE,
        "throughput": THROUGHPUT,
        "latency": LATENCY,
        "hit_rate": HIT_RATE,
        "errors": COUNTS,
        "failures": COUNTS,
        "error_rate": SHARE,
        "objectives": OBJECTIVES,
    },
    "objectives": OBJECTIVES,
    "slow": [
        {
            "at": TEXT,
            "kind": TEXT,
            "strategy": TEXT_OR_NONE,
            "total_ms": NUMBER,
            "stages": {...: NUMBER},
            "request_id": TEXT_OR_NONE,
        }
    ],
    "cpu": {"percent": SHARE, "process_percent": SHARE, "cores": WHOLE},
    "gpu": NO_GPU,
    "gpus": [GPU],
    "lost_gpus": [{"index": WHOLE, "name": TEXT, "since": TEXT, "sentence": TEXT}],
    "faces": {"pack": TEXT, "provider": TEXT, "dimension": WHOLE, "licence": TEXT},
}


def differing(found: object, wanted: object, at: str = "") -> list[str]:
    """Where JSON is not as described: `{...: x}` has any names, `[x]` any number, a tuple is of types."""
    if isinstance(wanted, tuple):
        return [] if type(found) in wanted else [f"{at}: {found!r}"]
    if isinstance(wanted, list):
        if not isinstance(found, list):
            return [f"{at}: {found!r}"]
        parts = [(part, wanted[0], f"{at}/{number}") for number, part in enumerate(found)]
        return [one for part in parts for one in differing(*part)]
    if not isinstance(found, Mapping):
        return [f"{at}: {found!r}"]
    inside = dict.fromkeys(found, wanted[...]) if ... in wanted else wanted
    names = [f"{at}: {sorted(found.keys() ^ inside.keys())}"] if found.keys() != inside.keys() else []
    parts = [(found[name], inside[name], f"{at}/{name}") for name in found.keys() & inside.keys()]
    return names + [one for part in parts for one in differing(*part)]


def compared_by_now(service: RobiService) -> float | None:
    """Answers of the cache that were compared with Qdrant's."""
    return service.metrics.counters.registry.get_sample_value(
        "robi_shadow_searches_total", {"qdrant": "same"}
    )


@pytest.fixture
def busy(service: RobiService, photos: dict[str, bytes]) -> RobiService:
    """Something of everything that can be told."""
    service.enrollment.enroll("ana", "Ana", [("a.png", photos["hanks"])])
    service.recognition.verify(photos["hanks"])
    assert eventually(lambda: compared_by_now(service) == 1)  # Qdrant's times stand still from now on
    service.metrics.error("no_face")
    service.metrics.failed("busy", 3)
    service.store.upkeep.check_drift()
    return service


def test_stats_have_their_names_and_types(busy: RobiService):
    assert differing(json.loads(json.dumps(busy.monitor.stats())), STATS) == []


def test_the_store_alone_tells_the_same_but_of_the_machine(busy: RobiService):
    assert differing(json.loads(json.dumps(busy.store.get_performance_metrics())), STORE) == []
    assert differing(json.loads(json.dumps(busy.store.cold_info())), COLD) == []


def test_the_store_and_stats_have_the_same_numbers(busy: RobiService):
    own, stats = busy.store.get_performance_metrics(), busy.monitor.stats()
    for name in STORE.keys() - {"series", "uptime_s", "memory", "throughput"}:
        assert own[name] == stats[name], name
    assert own["memory"]["hot_bytes"] == stats["memory"]["hot_bytes"] > 0


def test_gpus_have_their_names_and_types(busy: RobiService, monkeypatch: pytest.MonkeyPatch):
    card = Gpu(0, "NVIDIA L4", 41, 3072, 24576, 63, 71.5, None)
    lost = LostGpu(1, "NVIDIA A10", datetime.now(UTC))
    monkeypatch.setattr(GpuSampler, "sample", lambda _self: Cards((card,), (lost,), None))
    stats = json.loads(json.dumps(busy.monitor.stats()))
    assert differing(stats, {**STATS, "gpu": {**NO_GPU, **GPU}}) == []
    assert (stats["gpu"]["available"], stats["gpus"][0]["temperature_c"]) == (True, 63)


def test_a_cache_that_is_off_takes_no_memory(make_service):
    stats = make_service(faiss_enabled=False).monitor.stats()
    assert (stats["memory"]["hot_bytes"], stats["memory"]["hot_bytes_per_template"]) == (0, 0)
    assert stats["tiers"]["faiss"]["kind"] == "off"
    assert differing(stats["queues"], {"search": LOAD, "qdrant": LOAD}) == []
