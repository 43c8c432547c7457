"""What was measured in some stretch of time. Two of them add up to what was measured in both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.domain.json_values import JsonObject
from core.domain.objectives import Objective, dominant, of_search, stages_of_search
from core.domain.search import Decision, SearchResult, Source
from core.metrics import histogram
from core.metrics.counters import stages_of
from core.metrics.gauges import GaugeKey
from core.metrics.histogram import Histogram, bucket_of

CACHE = ("queries", "accepted", "winner_hot", "unknown", "skipped_cold", "wrong_top1")
"""Searches that asked the hot tier, and how it served them."""

Histograms = dict[str, Histogram]
Tally = dict[str, int]


@dataclass(slots=True)
class Within:
    """Requests of one objective: how many kept it, and which stage each of the others lost its time with."""

    inside: int = 0
    burned: Tally = field(default_factory=dict)

    @property
    def requests(self) -> int:
        return self.inside + sum(self.burned.values())


@dataclass(slots=True)
class Gauge:
    """A figure that was looked at now and then."""

    total: float = 0.0
    looks: int = 0
    highest: float = 0.0

    @property
    def mean(self) -> float:
        return self.total / self.looks


@dataclass(slots=True)
class Measured:
    """Counts and histograms; nothing in it is biometric or names anybody."""

    observed: float = 0.0  # seconds that Robi ran and measured
    faces: int = 0
    strategies: Histograms = field(default_factory=lambda: defaultdict(histogram.empty))
    stages: Histograms = field(default_factory=lambda: defaultdict(histogram.empty))
    failures: Tally = field(default_factory=dict)  # searches without an answer, by code
    errors: Tally = field(default_factory=dict)  # what was refused or failed, by code
    cache: Tally = field(default_factory=lambda: dict.fromkeys(CACHE, 0))
    objectives: dict[str, Within] = field(default_factory=lambda: defaultdict(Within))
    gauges: dict[GaugeKey, Gauge] = field(default_factory=lambda: defaultdict(Gauge))

    @property
    def searches(self) -> int:
        return sum(map(histogram.count_of, self.strategies.values()))

    def search(self, result: SearchResult) -> None:
        timings = result.timings
        if result.strategy:
            self.strategies[result.strategy.value][bucket_of(timings.total)] += 1
        for name, ms in stages_of(timings):
            self.stages[name][bucket_of(ms)] += 1
        objective = of_search(timings)
        if timings.total < objective.limit_ms:
            self.objectives[objective.name].inside += 1
        else:
            self.missed(objective, stages_of_search(result.strategy, timings))
        if "faiss" in result.tiers:
            self._count_cache(result)

    def request(self, objective: Objective, ms: float, stages: Mapping[str, float]) -> None:
        """A request of another kind than a search."""
        if ms < objective.limit_ms:
            self.objectives[objective.name].inside += 1
        else:
            self.missed(objective, stages)

    def missed(self, objective: Objective, stages: Mapping[str, float]) -> None:
        add_up(self.objectives[objective.name].burned, {dominant(stages): 1})

    def gauge(self, key: GaugeKey, value: float) -> None:
        seen = self.gauges[key]
        seen.total += value
        seen.looks += 1
        seen.highest = max(seen.highest, value)

    def add(self, other: Measured) -> None:
        self.observed += other.observed
        self.faces += other.faces
        for mine, theirs in ((self.strategies, other.strategies), (self.stages, other.stages)):
            for name, counts in theirs.items():
                histogram.add(mine[name], counts)
        add_up(self.failures, other.failures)
        add_up(self.errors, other.errors)
        add_up(self.cache, other.cache)
        for name, within in other.objectives.items():
            self.objectives[name].inside += within.inside
            add_up(self.objectives[name].burned, within.burned)
        for key, seen in other.gauges.items():
            gauge = self.gauges[key]
            gauge.total += seen.total
            gauge.looks += seen.looks
            gauge.highest = max(gauge.highest, seen.highest)

    def _count_cache(self, result: SearchResult) -> None:
        counts = self.cache
        counts["queries"] += 1
        counts["unknown"] += result.decision is Decision.UNKNOWN
        counts["skipped_cold"] += "qdrant" not in result.tiers
        counts["wrong_top1"] += result.cache_top1_wrong
        if result.decision is Decision.MATCH and result.best:
            counts["accepted"] += 1
            counts["winner_hot"] += result.best.source in (Source.FAISS, Source.BOTH)


def sum_of(parts: list[Measured]) -> Measured:
    total = Measured()
    for part in parts:
        total.add(part)
    return total


def add_up(into: Tally, other: Mapping[str, int]) -> None:
    for name, count in other.items():
        into[name] = into.get(name, 0) + count


def to_json(measured: Measured) -> JsonObject:
    return {
        "observed": round(measured.observed, 3),
        "faces": measured.faces,
        "strategies": {name: histogram.to_json(h) for name, h in measured.strategies.items()},
        "stages": {name: histogram.to_json(h) for name, h in measured.stages.items()},
        "failures": dict(measured.failures),
        "errors": dict(measured.errors),
        "cache": [measured.cache[name] for name in CACHE],
        "objectives": {name: [w.inside, dict(w.burned)] for name, w in measured.objectives.items()},
        "gauges": {
            str(key): [round(g.total, 3), g.looks, round(g.highest, 3)] for key, g in measured.gauges.items()
        },
    }


def from_json(kept: Any) -> Measured:
    """`kept` is whatever a row holds, and what that is shows only in reading it.

    Raises KeyError, TypeError, ValueError or AttributeError for what `to_json` did not write.
    """
    measured = Measured(float(kept["observed"]), int(kept["faces"]))
    for name, numbers in kept["strategies"].items():
        measured.strategies[name] = histogram.from_json(numbers)
    for name, numbers in kept["stages"].items():
        measured.stages[name] = histogram.from_json(numbers)
    add_up(measured.failures, kept["failures"])
    add_up(measured.errors, kept["errors"])
    measured.cache = dict(zip(CACHE, map(int, kept["cache"]), strict=True))
    for name, (inside, burned) in kept["objectives"].items():
        measured.objectives[name] = Within(int(inside), dict(burned))
    for name, (total, looks, highest) in kept["gauges"].items():
        measured.gauges[GaugeKey.kept(name)] = Gauge(float(total), int(looks), float(highest))
    return measured
