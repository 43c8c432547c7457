"""What Robi measures about itself: recent latencies in memory, and the same as Prometheus metrics.

Everything here is bounded, and nothing is biometric: numbers, strategy names, stages and error codes.
"""

from __future__ import annotations

import threading
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.prometheus import Prometheus, stages_of
from core.types import Decision, SearchResult, Source, Strategy, TierState

WINDOW_S = 300.0  # percentiles and rates look back this far
_SAMPLES = 4096  # per strategy or stage
_STEP_S = 5.0  # one point of the time series
_STEPS = 180  # 15 minutes of points
_PER_STEP = 512  # latencies kept per point


@dataclass(slots=True)
class _Step:
    started: float  # wall clock, seconds
    searches: int = 0
    recognitions: int = 0
    search_ms: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _CacheCounts:
    """Queries that asked the hot tier, and how it served them."""

    queries: int = 0
    accepted: int = 0
    winner_hot: int = 0
    unknown: int = 0
    skipped_cold: int = 0
    wrong_top1: int = 0


class Metrics:
    """Thread-safe. Observing costs microseconds; reading computes the percentiles."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._by_strategy: dict[str, deque[tuple[float, float]]] = {}
        self._by_stage: dict[str, deque[tuple[float, float]]] = {}
        self._recognised: deque[float] = deque(maxlen=_SAMPLES)
        self._errors: Tally[str] = Tally()
        self._failures: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)  # when, how many searches
        self._cache = _CacheCounts()
        self._steps: deque[_Step] = deque([_Step(_floor(time.time()))], maxlen=_STEPS)
        self._prometheus = Prometheus()

    def stage(self, name: str, ms: float) -> None:
        """One run of a stage: detect, embed, hot, cold, join, enroll or total, in milliseconds."""
        with self._lock:
            _append(self._by_stage, name, time.monotonic(), ms)
        self._prometheus.stage_seconds.labels(name).observe(ms / 1e3)

    def search(self, result: SearchResult) -> None:
        """One answered search, with its stages."""
        self.searches((result,))

    def searches(self, results: Sequence[SearchResult]) -> None:
        """Answered searches, with their stages."""
        now = time.monotonic()
        with self._lock:
            step = self._step()
            for result in results:
                self._note(result, now, step)
        for result in results:
            self._prometheus.search(result)

    def failed(self, code: str, searches: int) -> None:
        """Searches that got an error instead of an answer."""
        with self._lock:
            self._failures.append((time.monotonic(), float(searches)))
        self._prometheus.search_failures.labels(code).inc(searches)

    def recognition(self) -> None:
        """One face of a picture or a video frame went from pixels to a decision."""
        with self._lock:
            self._recognised.append(time.monotonic())
            self._step().recognitions += 1
        self._prometheus.recognitions.inc()

    def error(self, code: str) -> None:
        with self._lock:
            self._errors[code] += 1
        self._prometheus.errors.labels(code).inc()

    def snapshot(self) -> dict[str, Any]:
        """JSON-ready: latency, throughput, hit_rate, errors, error_rate, series, uptime_s."""
        with self._lock:
            strategies = {name.value: list(self._by_strategy.get(name.value, ())) for name in Strategy}
            stages = {name: list(samples) for name, samples in self._by_stage.items()}
            recognised = list(self._recognised)
            errors = dict(self._errors)
            failures = list(self._failures)
            hit_rate = _hit_rate(self._cache)
            self._step()
            series = _series(list(self._steps))
        now = time.monotonic()
        span = min(WINDOW_S, max(now - self._started, 1.0))
        searches = sum(len(_recent(samples, now)) for samples in strategies.values())
        failed = sum(_recent(failures, now))
        return {
            "latency": {
                "by_strategy": {name: _percentiles(_recent(s, now)) for name, s in strategies.items()},
                "by_stage": {name: _percentiles(_recent(s, now)) for name, s in stages.items()},
            },
            "throughput": {
                "searches_per_s": round(searches / span, 2),
                "recognitions_per_s": round(sum(now - at <= WINDOW_S for at in recognised) / span, 2),
            },
            "hit_rate": hit_rate,
            "errors": errors,
            "error_rate": round(failed / (searches + failed), 4) if searches + failed else None,
            "series": series,
            "uptime_s": round(now - self._started, 1),
        }

    def prometheus(self, people: int, templates: int, tiers: Sequence[TierState]) -> bytes:
        """The Prometheus text exposition, with the gauges set to the given state."""
        return self._prometheus.text(people, templates, tiers)

    def _note(self, result: SearchResult, now: float, step: _Step) -> None:
        timings = result.timings
        _append(self._by_strategy, result.strategy.value, now, timings.total)
        for name, ms in stages_of(timings):
            _append(self._by_stage, name, now, ms)
        step.searches += 1
        if len(step.search_ms) < _PER_STEP:
            step.search_ms.append(timings.total)
        self._count_cache(result)

    def _step(self) -> _Step:
        """The present point of the series; fills the gap since the last one with empty points."""
        start = _floor(time.time())
        missing = round((start - self._steps[-1].started) / _STEP_S)
        for back in range(min(missing, _STEPS) - 1, -1, -1):
            self._steps.append(_Step(start - back * _STEP_S))
        return self._steps[-1]

    def _count_cache(self, result: SearchResult) -> None:
        if "faiss" not in result.tiers:
            return
        counts = self._cache
        counts.queries += 1
        counts.unknown += result.decision is Decision.UNKNOWN
        counts.skipped_cold += result.strategy is Strategy.FAISS_FIRST and "qdrant" not in result.tiers
        counts.wrong_top1 += result.cache_top1_wrong
        if result.decision is Decision.MATCH and result.best:
            counts.accepted += 1
            counts.winner_hot += result.best.source in (Source.FAISS, Source.BOTH)


def _append(series: dict[str, deque[tuple[float, float]]], name: str, now: float, ms: float) -> None:
    series.setdefault(name, deque(maxlen=_SAMPLES)).append((now, ms))


def percentiles(ms: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 of some milliseconds, by linear interpolation (numpy's default)."""
    p50, p95, p99 = np.percentile(ms, (50, 95, 99))
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "p99": round(float(p99), 3)}


def _percentiles(ms: Sequence[float]) -> dict[str, float | int | None]:
    if not ms:
        return {"p50": None, "p95": None, "p99": None, "count": 0}
    return {**percentiles(ms), "count": len(ms)}


def _recent(samples: Sequence[tuple[float, float]], now: float) -> list[float]:
    return [ms for at, ms in samples if now - at <= WINDOW_S]


def _floor(wall: float) -> float:
    return wall - wall % _STEP_S


def _hit_rate(counts: _CacheCounts) -> Mapping[str, float | int | None]:
    """Of queries with an accepted match, the share whose winner was in the hot tier; and its risks."""

    def share(part: int, whole: int) -> float | None:
        return round(part / whole, 4) if whole else None

    return {
        "hit_rate": share(counts.winner_hot, counts.accepted),
        "served_from_cache": share(counts.skipped_cold, counts.queries),
        "wrong_cache_top1": share(counts.wrong_top1, counts.queries),
        "unknown": share(counts.unknown, counts.queries),
        "queries": counts.queries,
    }


def _series(steps: Sequence[_Step]) -> dict[str, list[Any]]:
    return {
        "t": [step.started for step in steps],
        "searches_per_s": [round(step.searches / _STEP_S, 2) for step in steps],
        "recognitions_per_s": [round(step.recognitions / _STEP_S, 2) for step in steps],
        "p95_ms": [
            round(float(np.percentile(step.search_ms, 95)), 3) if step.search_ms else None for step in steps
        ],
    }
