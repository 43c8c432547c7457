"""What was measured, made into numbers to show: the same for `/stats`, the pages and any stretch of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from core.domain.objectives import OBJECTIVES
from core.domain.search import Strategy
from core.metrics.figures import (
    Column,
    HitRate,
    Latency,
    ObjectiveShare,
    Series,
    Summary,
    Throughput,
    Times,
    Window,
)
from core.metrics.gauges import GaugeKey
from core.metrics.histogram import Histogram, add, count_of, empty, percentiles_of
from core.metrics.measured import Measured, Within

PERCENTILES = ("p50", "p95", "p99")

K = TypeVar("K", str, GaugeKey)


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured from `start`, the wall clock's seconds, for `seconds`."""

    start: float
    seconds: float
    measured: Measured
    summary: Summary


def window(measured: Measured) -> Window:
    return Window(
        observed_s=round(measured.observed, 1),
        searches=measured.searches,
        recognitions=measured.faces,
        throughput=throughput(measured),
        latency=latency(measured),
        hit_rate=hit_rate(measured.cache),
        errors=dict(measured.errors),
        failures=dict(measured.failures),
        error_rate=error_rate(measured),
        objectives=objectives(measured.objectives),
    )


def throughput(measured: Measured) -> Throughput:
    seconds = max(measured.observed, 1.0)
    return Throughput(round(measured.searches / seconds, 2), round(measured.faces / seconds, 2))


def latency(measured: Measured) -> Latency:
    return Latency(
        by_strategy={
            strategy.value: _times(measured.strategies.get(strategy.value, {})) for strategy in Strategy
        },
        by_stage={name: _times(counts) for name, counts in measured.stages.items()},
    )


def hit_rate(cache: Mapping[str, int]) -> HitRate:
    queries = cache["queries"]
    return HitRate(
        hit_rate=_share(cache["winner_hot"], cache["accepted"]),
        served_from_cache=_share(cache["skipped_cold"], queries),
        wrong_cache_top1=_share(cache["wrong_top1"], queries),
        unknown=_share(cache["unknown"], queries),
        queries=queries,
    )


def error_rate(measured: Measured) -> float | None:
    """Of all searches, the share that got an error instead of an answer."""
    failed = sum(measured.failures.values())
    return _share(failed, measured.searches + failed)


def objectives(within: Mapping[str, Within]) -> tuple[ObjectiveShare, ...]:
    found = []
    for objective in OBJECTIVES:
        counted = within.get(objective.name, Within())
        outside = counted.requests - counted.inside
        burned = sorted(counted.burned.items(), key=lambda stage: stage[1], reverse=True)
        found.append(
            ObjectiveShare(
                name=objective.name,
                requests_are=objective.requests,
                limit_ms=objective.limit_ms,
                requests=counted.requests,
                inside=_share(counted.inside, counted.requests),
                outside=outside,
                burned_by={stage: round(count / outside, 4) for stage, count in burned},
            )
        )
    return tuple(found)


def summary(measured: Measured) -> Summary:
    """One point of a series."""
    seconds = measured.observed
    together: Histogram = empty()
    for counts in measured.strategies.values():
        add(together, counts)
    p95 = percentiles_of(together, (0.95,))
    looked_at = {key: gauge for key, gauge in measured.gauges.items() if gauge.looks}
    return Summary(
        searches_per_s=round(count_of(together) / seconds, 2) if seconds else None,
        recognitions_per_s=round(measured.faces / seconds, 2) if seconds else None,
        p95_ms=round(p95[0], 3) if p95 else None,
        hit_rate=_share(measured.cache["winner_hot"], measured.cache["accepted"]),
        error_rate=error_rate(measured),
        failed=sum(measured.failures.values()),
        by_strategy={name: _named(counts) for name, counts in measured.strategies.items()},
        by_stage={name: _named(counts) for name, counts in measured.stages.items()},
        errors=dict(measured.errors),
        gauges={key: round(gauge.mean, 3) for key, gauge in looked_at.items()},
        peaks={key: round(gauge.highest, 3) for key, gauge in looked_at.items()},
    )


def columns(points: Sequence[Point]) -> Series:
    found = [point.summary for point in points]

    def column(of: Callable[[Summary], float | None]) -> Column:
        return [of(one) for one in found]

    return Series(
        t=[round(point.start, 3) for point in points],
        seconds=[point.seconds for point in points],
        searches_per_s=column(lambda one: one.searches_per_s),
        recognitions_per_s=column(lambda one: one.recognitions_per_s),
        p95_ms=column(lambda one: one.p95_ms),
        hit_rate=column(lambda one: one.hit_rate),
        error_rate=column(lambda one: one.error_rate),
        failed=column(lambda one: one.failed),
        by_strategy=_nested([one.by_strategy for one in found]),
        by_stage=_nested([one.by_stage for one in found]),
        errors=_flat([one.errors for one in found]),
        gauges=_flat([one.gauges for one in found]),
        peaks=_flat([one.peaks for one in found]),
    )


def _nested(found: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, Column]]:
    return {
        name: {p: [one.get(name, {}).get(p) for one in found] for p in PERCENTILES} for name in _names(found)
    }


def _flat(found: Sequence[Mapping[K, float]]) -> dict[K, Column]:
    return {name: [one.get(name) for one in found] for name in _names(found)}


def _names(found: Iterable[Iterable[K]]) -> list[K]:
    return sorted({name for one in found for name in one})


def _named(counts: Mapping[int, int]) -> dict[str, float]:
    found = percentiles_of(counts)
    return {p: round(ms, 3) for p, ms in zip(PERCENTILES, found, strict=True)} if found else {}


def _times(counts: Mapping[int, int]) -> Times:
    found = _named(counts)
    return Times(found.get("p50"), found.get("p95"), found.get("p99"), count_of(counts))


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
