"""Where everything is counted: in memory for the screen and the history, and for Prometheus."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from core.domain.objectives import ENROLL, of_search, stages_of_search, with_rest
from core.domain.search import SearchResult, Strategy
from core.metrics import series
from core.metrics.counters import Counters
from core.metrics.figures import MetricsSnapshot, Series, Summary, Totals
from core.metrics.gauges import GaugeKey
from core.metrics.histogram import bucket_of, count_of
from core.metrics.measured import Measured, sum_of
from core.metrics.recent import STEP_S, STEPS, Recent
from core.metrics.series import Point
from core.metrics.slow import ENROLLMENT, SEARCH, Slowest, SlowRequest
from core.telemetry.logs import request_id

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Measuring")

WINDOW_S = 300.0  # percentiles and rates of a snapshot look back this far


@dataclass(slots=True)
class _Open:
    """A request under way in this thread."""

    stages: dict[str, float] = field(default_factory=dict)
    strategy: str | None = None


_open: ContextVar[_Open | None] = ContextVar("open_request", default=None)


class Measuring(Protocol):
    """What has metrics of its own."""

    @property
    def metrics(self) -> Metrics: ...


def as_request(kind: str) -> Callable[[Callable[Concatenate[S, P], T]], Callable[Concatenate[S, P], T]]:
    """A method that is one enrollment or verification, for the objectives and the slow requests."""

    def decorate(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
        @functools.wraps(method)
        def run(owner: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
            with owner.metrics.request(kind):
                return method(owner, *args, **kwargs)

        return run

    return decorate


class Metrics:
    """Thread-safe. Observing costs microseconds; reading computes the percentiles.

    Everything here is bounded, and nothing is biometric: numbers, strategy names, stages and error codes.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._clock, self._wall = clock, wall
        self._lock = threading.Lock()
        self._started = clock()
        self._recent = Recent(self._started)
        self._slowest = Slowest()
        self._uncounted = 0
        self._gauges: dict[str, Callable[[], float]] = {}
        self.counters = Counters()

    # ------------------------------------------------------------ observing

    def stage(self, name: str, ms: float) -> None:
        """One run of a stage: detect, embed, commit, sync, … in milliseconds."""
        if (request := _open.get()) is not None:
            request.stages[name] = request.stages.get(name, 0.0) + ms
        with self._lock:
            self._recent.present(self._clock()).stages[name][bucket_of(ms)] += 1
        self.counters.stage_seconds.labels(name).observe(ms / 1e3)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Measure a block as a stage, also when it fails."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.stage(name, (time.perf_counter() - started) * 1e3)

    @contextmanager
    def request(self, kind: str) -> Iterator[None]:
        """An enrollment or a verification, made of the stages that this thread measures meanwhile."""
        started, opened = time.perf_counter(), _Open()
        token = _open.set(opened)
        try:
            yield
        finally:
            _open.reset(token)
        ms = (time.perf_counter() - started) * 1e3
        stages = with_rest(opened.stages, ms)
        with self._lock:
            now = self._clock()
            if kind == ENROLLMENT:
                measured = self._recent.present(now)
                measured.request(ENROLL, ms, stages)
                measured.stages["enroll"][bucket_of(ms)] += 1
            if self._slowest.wants(kind, ms, now):
                self._note_slow(kind, opened.strategy, ms, stages, now)
        if kind == ENROLLMENT:
            self.counters.stage_seconds.labels("enroll").observe(ms / 1e3)

    def compared(self, searches: int, wrong: int) -> None:
        """Answers of the cache alone that were compared with Qdrant's, and those that Qdrant knew better."""
        with self._lock:
            self._recent.present(self._clock()).cache["wrong_top1"] += wrong
        self.counters.shadow_searches.labels("same").inc(searches - wrong)
        self.counters.shadow_searches.labels("better").inc(wrong)

    def searches(self, results: Sequence[SearchResult]) -> None:
        """Answered searches, with their stages."""
        with self._lock:
            now = self._clock()
            present = self._recent.present(now)
            for result in results:
                present.search(result)
                ms = result.timings.total
                if self._slowest.wants(SEARCH, ms, now):
                    stages = stages_of_search(result.strategy, result.timings)
                    self._note_slow(SEARCH, result.strategy, ms, stages, now)
        for result in results:
            self.counters.search(result, of_search(result.timings).name)

    def uncounted(self, searches: int) -> None:
        """Searches that are no part of the live ones: of a comparison, or for a duplicate."""
        with self._lock:
            self._uncounted += searches
        self.counters.uncounted_searches.inc(searches)

    def failed(self, code: str, searches: int) -> None:
        """Searches that got an error instead of an answer."""
        with self._lock:
            failures = self._recent.present(self._clock()).failures
            failures[code] = failures.get(code, 0) + searches
        self.counters.search_failures.labels(code).inc(searches)

    def recognised(self, results: Sequence[SearchResult]) -> None:
        """Faces of a picture or a video frame went from pixels to decisions."""
        if (request := _open.get()) is not None and results:
            slowest = max(results, key=lambda result: result.timings.total)
            request.stages |= stages_of_search(slowest.strategy, slowest.timings)
            request.strategy = slowest.strategy
        with self._lock:
            self._recent.present(self._clock()).faces += len(results)
        self.counters.recognitions.inc(len(results))

    def error(self, code: str) -> None:
        with self._lock:
            errors = self._recent.present(self._clock()).errors
            errors[code] = errors.get(code, 0) + 1
        self.counters.errors.labels(code).inc()

    def gauges(self, seen: Mapping[GaugeKey, float]) -> None:
        """Figures that were looked at now."""
        with self._lock:
            present = self._recent.present(self._clock())
            for key, value in seen.items():
                present.gauge(key, value)

    def watch(self, name: str, look: Callable[[], float]) -> None:
        """Have the recorder look at a figure now and then; `look` must be quick and not raise."""
        self._gauges[name] = look

    def watched(self) -> dict[str, float]:
        """The figures under `watch`, now."""
        return {name: look() for name, look in self._gauges.items()}

    # ------------------------------------------------------------ reading

    def snapshot(self) -> MetricsSnapshot:
        """The last 5 minutes, and what was counted since the start."""
        with self._lock:
            now = self._clock()
            seen = sum_of([p.measured for p in self._recent.points(now, self._wall(), WINDOW_S)])
            total = self._recent.total(now)
            uncounted = self._uncounted
        return MetricsSnapshot(
            latency=series.latency(seen),
            throughput=series.throughput(seen),
            hit_rate=series.hit_rate(total.cache),
            errors=dict(total.errors),
            error_rate=series.error_rate(seen),
            totals=_totals(total, uncounted),
            uptime_s=round(now - self._started, 1),
        )

    def series(self) -> Series:
        """The points of the last 15 minutes."""
        return series.columns(drawable(self.points(STEP_S * STEPS)[0]))

    def points(self, seconds: float) -> tuple[list[Point], Measured]:
        """The steps of the last `seconds`, at most 15 minutes, and all of them together."""
        with self._lock:
            points = self._recent.points(self._clock(), self._wall(), seconds)
            return points, sum_of([point.measured for point in points])

    def slowest(self) -> tuple[SlowRequest, ...]:
        """The worst requests of the last hours, slowest first."""
        with self._lock:
            return self._slowest.worst(self._clock())

    def cache(self) -> Mapping[str, int]:
        """How the hot tier has served searches since the start."""
        with self._lock:
            return dict(self._recent.total(self._clock()).cache)

    # ------------------------------------------------------------ for the history

    def take(self) -> list[tuple[float, Measured]]:
        """What has been measured since the last call, as (wall clock, measured); each is given once."""
        with self._lock:
            return self._recent.take(self._clock(), self._wall())

    def untaken(self) -> list[tuple[float, Measured]]:
        """Copies of what the next `take` will give, and of what is being measured."""
        with self._lock:
            found = self._recent.untaken(self._clock(), self._wall())
            return [(start, sum_of([measured])) for start, measured in found]

    def remember(self, rows: Sequence[tuple[float, float, Measured]]) -> None:
        """What an earlier process measured in the last minutes, as (wall clock, seconds, measured)."""
        with self._lock:
            self._recent.remember(rows, self._clock(), self._wall())

    # ------------------------------------------------------------ inside

    def _note_slow(
        self, kind: str, strategy: str | None, ms: float, stages: Mapping[str, float], now: float
    ) -> None:
        spent = {name: round(value, 3) for name, value in stages.items()}
        at = datetime.fromtimestamp(self._wall(), UTC)
        self._slowest.note(SlowRequest(at, kind, strategy, round(ms, 3), spent, request_id.get()), now)


def drawable(points: Sequence[Point]) -> list[Point]:
    """Without the step that has just begun, whose rates would jump about (the only one stays), and with an
    empty point where Robi did not run, so that no line is drawn across."""
    found: list[Point] = []
    for point in points[:-1] if len(points) > 1 else points:
        if found:
            end = found[-1].start + found[-1].seconds
            if point.start - end > STEP_S:
                found.append(Point(end, point.start - end, Measured(), Summary()))
        found.append(point)
    return found


def _totals(total: Measured, uncounted: int) -> Totals:
    return Totals(
        searches={
            strategy.value: count_of(total.strategies.get(strategy.value, {})) for strategy in Strategy
        },
        stages={name: count_of(counts) for name, counts in total.stages.items()},
        recognitions=total.faces,
        failures=dict(total.failures),
        uncounted_searches=uncounted,
    )
