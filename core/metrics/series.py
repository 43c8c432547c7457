"""What was measured, as numbers to show: the same for `/stats`, the pages and any stretch of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from core.domain.objectives import OBJECTIVES
from core.domain.search import Strategy
from core.metrics.histogram import Histogram, add, count_of, empty, percentiles_of
from core.metrics.measured import Measured, Within

_P = ("p50", "p95", "p99")


class Summarised(Protocol):
    """One point of a series."""

    start: float
    seconds: float
    summary: dict[str, Any]


def window(measured: Measured) -> dict[str, Any]:
    """Rates, percentiles, shares and objectives of all that was measured; JSON-ready.

    A figure that nothing was measured for is None, never 0. Percentiles are within
    `core.metrics.histogram.ERROR` of the exact ones.
    """
    searches, failed = measured.searches, sum(measured.failures.values())
    return {
        "observed_s": round(measured.observed, 1),
        "searches": searches,
        "recognitions": measured.faces,
        "throughput": throughput(measured),
        "latency": latency(measured),
        "hit_rate": hit_rate(measured.cache),
        "errors": dict(measured.errors),
        "failures": dict(measured.failures),
        "error_rate": _share(failed, searches + failed),
        "objectives": objectives(measured.objectives),
    }


def throughput(measured: Measured) -> dict[str, float]:
    seconds = max(measured.observed, 1.0)
    return {
        "searches_per_s": round(measured.searches / seconds, 2),
        "recognitions_per_s": round(measured.faces / seconds, 2),
    }


def latency(measured: Measured) -> dict[str, Any]:
    return {
        "by_strategy": {
            strategy.value: _percentiles(measured.strategies.get(strategy.value, {})) for strategy in Strategy
        },
        "by_stage": {name: _percentiles(counts) for name, counts in measured.stages.items()},
    }


def hit_rate(cache: Mapping[str, int]) -> dict[str, float | int | None]:
    """Of queries with an accepted match, the share whose winner was in the hot tier; and its risks."""
    queries = cache["queries"]
    return {
        "hit_rate": _share(cache["winner_hot"], cache["accepted"]),
        "served_from_cache": _share(cache["skipped_cold"], queries),
        "wrong_cache_top1": _share(cache["wrong_top1"], queries),
        "unknown": _share(cache["unknown"], queries),
        "queries": queries,
    }


def objectives(within: Mapping[str, Within]) -> list[dict[str, Any]]:
    """Each target, the share of requests inside it, and by stage the share of those that missed it."""
    found = []
    for objective in OBJECTIVES:
        counted = within.get(objective.name, Within())
        outside = counted.requests - counted.inside
        burned = sorted(counted.burned.items(), key=lambda stage: stage[1], reverse=True)
        found.append(
            {
                "name": objective.name,
                "requests_are": objective.requests,
                "limit_ms": objective.limit_ms,
                "requests": counted.requests,
                "inside": _share(counted.inside, counted.requests),
                "outside": outside,
                "burned_by": {stage: round(count / outside, 4) for stage, count in burned},
            }
        )
    return found


def summary(measured: Measured) -> dict[str, Any]:
    """One point of a series; None where nothing was measured."""
    seconds = measured.observed
    failed = sum(measured.failures.values())
    together: Histogram = empty()
    for counts in measured.strategies.values():
        add(together, counts)
    searches = count_of(together)
    p95 = percentiles_of(together, (0.95,))
    return {
        "searches_per_s": round(searches / seconds, 2) if seconds else None,
        "recognitions_per_s": round(measured.faces / seconds, 2) if seconds else None,
        "p95_ms": round(p95[0], 3) if p95 else None,
        "hit_rate": _share(measured.cache["winner_hot"], measured.cache["accepted"]),
        "error_rate": _share(failed, searches + failed),
        "by_strategy": {name: _named(counts) for name, counts in measured.strategies.items()},
        "by_stage": {name: _named(counts) for name, counts in measured.stages.items()},
        "errors": dict(measured.errors),
        "failed": failed,
        "gauges": {name: round(g.mean, 3) for name, g in measured.gauges.items() if g.looks},
        "peaks": {name: round(g.highest, 3) for name, g in measured.gauges.items() if g.looks},
    }


def columns(points: Sequence[Summarised]) -> dict[str, Any]:
    """Points side by side, by name; JSON-ready. `t` is the start of each, in seconds since 1970."""
    found = [point.summary for point in points]
    single = ("searches_per_s", "recognitions_per_s", "p95_ms", "hit_rate", "error_rate", "failed")
    return {
        "t": [round(point.start, 3) for point in points],
        "seconds": [point.seconds for point in points],
        **{name: [one.get(name) for one in found] for name in single},
        "by_strategy": _nested([one.get("by_strategy", {}) for one in found]),
        "by_stage": _nested([one.get("by_stage", {}) for one in found]),
        "errors": _flat([one.get("errors", {}) for one in found]),
        "gauges": _flat([one.get("gauges", {}) for one in found]),
        "peaks": _flat([one.get("peaks", {}) for one in found]),
    }


def _nested(found: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, list[float | None]]]:
    names = sorted({name for one in found for name in one})
    return {name: {p: [one.get(name, {}).get(p) for one in found] for p in _P} for name in names}


def _flat(found: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    return {name: [one.get(name) for one in found] for name in sorted({n for one in found for n in one})}


def _named(counts: Mapping[int, int]) -> dict[str, float]:
    found = percentiles_of(counts)
    return {p: round(ms, 3) for p, ms in zip(_P, found, strict=True)} if found else {}


def _percentiles(counts: Mapping[int, int]) -> dict[str, float | int | None]:
    return {**dict.fromkeys(_P), **_named(counts), "count": count_of(counts)}


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
