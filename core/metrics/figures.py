"""What was measured, as numbers to show. None is what nothing was measured for, never 0.

The names are those of `/stats`: `core.domain.json_values` makes its JSON of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.metrics.gauges import GaugeKey

Column = Sequence[float | None]
"""One number for each point of a series."""


@dataclass(frozen=True, slots=True)
class Times:
    """Percentiles in milliseconds, within `core.metrics.histogram.ERROR` of the exact ones."""

    p50: float | None
    p95: float | None
    p99: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Latency:
    by_strategy: Mapping[str, Times]  # every strategy
    by_stage: Mapping[str, Times]  # those that ran


@dataclass(frozen=True, slots=True)
class Throughput:
    searches_per_s: float
    recognitions_per_s: float


@dataclass(frozen=True, slots=True)
class HitRate:
    """Of queries with an accepted match, the share whose winner was in the hot tier; and its risks."""

    hit_rate: float | None
    served_from_cache: float | None
    wrong_cache_top1: float | None
    unknown: float | None
    queries: int


@dataclass(frozen=True, slots=True)
class ObjectiveShare:
    """A target, the share of requests inside it, and by stage the share of those that missed it."""

    name: str
    requests_are: str
    limit_ms: float
    requests: int
    inside: float | None
    outside: int
    burned_by: Mapping[str, float]  # the worst first


@dataclass(frozen=True, slots=True)
class Window:
    """Rates, percentiles, shares and objectives of all that was measured in some time."""

    observed_s: float
    searches: int
    recognitions: int
    throughput: Throughput
    latency: Latency
    hit_rate: HitRate
    errors: Mapping[str, int]
    failures: Mapping[str, int]
    error_rate: float | None
    objectives: Sequence[ObjectiveShare]


@dataclass(frozen=True, slots=True)
class Summary:
    """One point of a series; percentiles by name. As it is made here, of a time when Robi did not run."""

    searches_per_s: float | None = None
    recognitions_per_s: float | None = None
    p95_ms: float | None = None
    hit_rate: float | None = None
    error_rate: float | None = None
    failed: int | None = None
    by_strategy: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    by_stage: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    gauges: Mapping[GaugeKey, float] = field(default_factory=dict)
    peaks: Mapping[GaugeKey, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Series:
    """Points side by side: columns of the same length."""

    t: Sequence[float]  # the start of each point, in seconds since 1970
    seconds: Sequence[float]
    searches_per_s: Column
    recognitions_per_s: Column
    p95_ms: Column
    hit_rate: Column
    error_rate: Column
    failed: Column
    by_strategy: Mapping[str, Mapping[str, Column]]  # by percentile
    by_stage: Mapping[str, Mapping[str, Column]]
    errors: Mapping[str, Column]  # by code
    gauges: Mapping[GaugeKey, Column]  # means
    peaks: Mapping[GaugeKey, Column]


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts since the start, as `/metrics` has them."""

    searches: Mapping[str, int]  # by strategy
    stages: Mapping[str, int]
    recognitions: int
    failures: Mapping[str, int]  # searches without an answer, by code
    uncounted_searches: int


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """Speed of the last minutes; hit rate, errors and totals since the start."""

    latency: Latency
    throughput: Throughput
    hit_rate: HitRate
    errors: Mapping[str, int]
    error_rate: float | None
    totals: Totals
    uptime_s: float
