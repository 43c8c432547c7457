"""What Robi offers to Prometheus. Labels have few values, none of them personal."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from core.types import SearchResult, SearchTimings, TierState

# From a tenth of a millisecond to a second: the targets (30 ms, 50 ms, 1 s) are bucket borders.
_BUCKETS = (0.0001, 0.0003, 0.001, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5)


class Prometheus:
    """Metric names follow the Prometheus conventions: base units, `_total` for counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.searches = Counter(
            "robi_searches", "Searches answered.", ["strategy", "decision"], registry=registry
        )
        self.search_seconds = Histogram(
            "robi_search_seconds", "Time of a search.", ["strategy"], buckets=_BUCKETS, registry=registry
        )
        self.stage_seconds = Histogram(
            "robi_stage_seconds", "Time of one stage.", ["stage"], buckets=_BUCKETS, registry=registry
        )
        self.search_failures = Counter(
            "robi_search_failures", "Searches that got an error.", ["code"], registry=registry
        )
        self.recognitions = Counter("robi_recognitions", "Faces decided on.", registry=registry)
        self.errors = Counter("robi_errors", "Errors by code.", ["code"], registry=registry)
        self.people = Gauge("robi_people", "People enrolled.", registry=registry)
        self.templates = Gauge("robi_templates", "Templates enrolled.", registry=registry)
        self.tier_up = Gauge("robi_tier_up", "1 if searches can ask the tier.", ["tier"], registry=registry)
        self.tier_templates = Gauge(
            "robi_tier_templates", "Templates in the tier.", ["tier"], registry=registry
        )
        self.tier_lag = Gauge(
            "robi_tier_lag_changes", "Changes not applied yet.", ["tier"], registry=registry
        )

        self._counted = cache(self.searches.labels)  # looking a label up takes longer than counting
        self._timed = cache(self.search_seconds.labels)
        self._staged = cache(self.stage_seconds.labels)

    def search(self, result: SearchResult) -> None:
        self._counted(result.strategy, result.decision).inc()
        self._timed(result.strategy).observe(result.timings.total / 1e3)
        for name, ms in stages_of(result.timings):
            self._staged(name).observe(ms / 1e3)

    def text(self, people: int, templates: int, tiers: Sequence[TierState]) -> bytes:
        self.people.set(people)
        self.templates.set(templates)
        for tier in tiers:
            self.tier_up.labels(tier.name).set(tier.answers)
            self.tier_templates.labels(tier.name).set(tier.templates)
            self.tier_lag.labels(tier.name).set(tier.lag)
        return generate_latest(self.registry)


def stages_of(timings: SearchTimings) -> list[tuple[str, float]]:
    """The stages of a search that ran."""
    stages = (("hot", timings.hot), ("cold", timings.cold), ("join", timings.join))
    return [(name, ms) for name, ms in stages if ms is not None]
