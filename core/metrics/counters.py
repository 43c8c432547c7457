"""What is counted for Prometheus. Labels have few values, none of them personal."""

from __future__ import annotations

from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from core.domain.search import Decision, SearchResult, SearchTimings, Strategy

# A second series for each of a histogram's labels, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]

# From a tenth of a millisecond on; the targets (30 ms, 50 ms, 1 s) are bucket borders.
_BUCKETS = (0.0001, 0.0003, 0.001, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)
_REQUEST_BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counters:
    """Counters and histograms of what happens; `core.monitoring.prometheus` makes the text of them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.searches = Counter(
            "robi_searches", "Searches answered.", ["strategy", "decision"], registry=registry
        )
        self.search_seconds = Histogram(
            "robi_search_seconds",
            "Time of a search; objective: hot if the hot tier answered alone, cold if Qdrant was asked.",
            ["strategy", "objective"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "robi_stage_seconds", "Time of one stage.", ["stage"], buckets=_BUCKETS, registry=registry
        )
        self.search_failures = Counter(
            "robi_search_failures", "Searches that got an error.", ["code"], registry=registry
        )
        self.uncounted_searches = Counter(
            "robi_uncounted_searches",
            "Searches of comparisons and duplicate checks, which no other figure counts.",
            registry=registry,
        )
        self.shadow_searches = Counter(
            "robi_shadow_searches",
            "Answers of the cache alone that were compared with Qdrant's.",
            ["qdrant"],
            registry=registry,
        )
        self.recognitions = Counter("robi_recognitions", "Faces decided on.", registry=registry)
        self.errors = Counter("robi_errors", "Errors by code.", ["code"], registry=registry)
        self.requests = Counter(
            "robi_http_requests", "API requests answered.", ["method", "route", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "robi_http_request_seconds",
            "Time of an API request.",
            ["route"],
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

        self._counted = cache(self.searches.labels)  # looking a label up takes longer than counting
        self._timed = cache(self.search_seconds.labels)
        self._staged = cache(self.stage_seconds.labels)
        self._requested = cache(self.requests.labels)
        self._answered = cache(self.request_seconds.labels)
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """What alerts divide by, or wait for: a series that begins with its first event hides that event."""
        for strategy in Strategy:
            for decision in Decision:
                self._counted(strategy, decision)
        for outcome in ("same", "better"):
            self.shadow_searches.labels(outcome)
        for code in ("busy", "search_unavailable", "ledger_unavailable"):
            self.search_failures.labels(code)
            self.errors.labels(code)

    def search(self, result: SearchResult, objective: str) -> None:
        """`objective` is the name of the one that the search counts for."""
        self._counted(result.strategy, result.decision).inc()
        self._timed(result.strategy, objective).observe(result.timings.total / 1e3)
        for name, ms in stages_of(result.timings):
            self._staged(name).observe(ms / 1e3)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requested(method, route, status).inc()
        self._answered(route).observe(seconds)


def stages_of(timings: SearchTimings) -> list[tuple[str, float]]:
    """The stages of a search that ran."""
    stages = (
        ("hot", timings.hot),
        ("cold", timings.cold),
        ("merge", timings.merge),
        ("join", timings.join),
    )
    return [(name, ms) for name, ms in stages if ms is not None]
