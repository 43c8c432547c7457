"""Percentiles against numpy, the cache's rates by hand, objectives, slow requests, and series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from core.domain.errors import Unavailable
from core.domain.objectives import stages_of_search
from core.domain.search import Candidate, Decision, SearchResult, SearchTimings, Source, Strategy
from core.metrics import ENROLLMENT, VERIFICATION, Metrics, as_request
from core.metrics import histogram as h
from core.metrics.figures import HitRate, Times
from core.metrics.gauges import LAG, GaugeKey
from core.metrics.measured import Measured, from_json, to_json
from core.metrics.slow import HOURS, KEPT
from core.services.demo import load_demo_gallery


class Clock:
    """Both clocks of a machine, in the hands of the test."""

    def __init__(self, monotonic: float = 1_000.0, wall: float = 1_600_000_000.0) -> None:
        self.monotonic, self.wall = monotonic, wall

    def pass_(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds

    def metrics(self) -> Metrics:
        return Metrics(clock=lambda: self.monotonic, wall=lambda: self.wall)


def result(
    ms: float = 1.0,
    *,
    strategy: Strategy = Strategy.HYBRID,
    decision: Decision = Decision.MATCH,
    source: Source = Source.BOTH,
    tiers: tuple[str, ...] = ("faiss", "qdrant"),
    wrong: bool = False,
    timings: SearchTimings | None = None,
) -> SearchResult:
    ana = Candidate("ana", "Ana", 0.7, source, 1)
    timings = timings or SearchTimings(ms, hot=ms / 2)
    return SearchResult((ana,), decision, strategy, 0.4, tiers, (), wrong, timings)


def histogram_of(ms: np.ndarray) -> h.Histogram:
    counts = h.empty()
    for value in ms:
        counts[h.bucket_of(float(value))] += 1
    return counts


# ---------------------------------------------------------------- percentiles


@pytest.mark.parametrize("size", [1, 2, 3, 100, 5_000])
@pytest.mark.parametrize("kind", ["gamma", "lognormal", "two_humps", "wide"])
def test_percentiles_are_numpys_within_the_stated_error(kind: str, size: int):
    random = np.random.default_rng(size)
    ms = {
        "gamma": random.gamma(2.0, 3.0, size),
        "lognormal": random.lognormal(1.0, 1.5, size),
        "two_humps": np.where(random.random(size) < 0.9, 0.4, 800.0) * random.lognormal(0, 0.1, size),
        "wide": 10 ** random.uniform(-1.99, 5.99, size),
    }[kind].clip(h.SMALLEST_MS, h.LONGEST_MS)
    shares = (0.0, 0.1, 0.5, 0.9, 0.95, 0.99, 1.0)
    found = h.percentiles_of(histogram_of(ms), shares)
    assert found == pytest.approx(np.percentile(ms, [100 * s for s in shares]), rel=h.ERROR + 1e-9)


def test_the_error_is_reached_at_the_border_of_a_bucket_and_not_passed():
    border = h.SMALLEST_MS * h.RATIO**120
    (found,) = h.percentiles_of({h.bucket_of(border * 1.000001): 1}, (0.5,)) or [0.0]
    assert found / border - 1 == pytest.approx(h.ERROR, rel=1e-3)


@pytest.mark.parametrize("ms", [0.0, 1e-9, 1e9])
def test_times_out_of_range_count_as_the_shortest_or_the_longest(ms: float):
    (found,) = h.percentiles_of(histogram_of(np.array([ms])), (0.5,)) or [0.0]
    assert h.SMALLEST_MS <= found <= h.LONGEST_MS * h.RATIO


def test_two_histograms_add_up_to_the_one_of_all():
    ms = np.random.default_rng(5).gamma(2.0, 3.0, 4_000)
    both = histogram_of(ms[:1500])
    h.add(both, histogram_of(ms[1500:]))
    assert both == histogram_of(ms)
    assert h.from_json(h.to_json(both)) == both


def test_a_strategy_without_searches_has_no_percentiles_rather_than_zeros():
    assert Metrics().snapshot().latency.by_strategy["qdrant_only"] == Times(None, None, None, 0)


# ---------------------------------------------------------------- what is counted


def test_the_hit_rate_counts_accepted_queries_that_asked_the_cache():
    measured = Metrics()
    measured.searches([result(source=Source.BOTH)])
    measured.searches([result(source=Source.QDRANT, wrong=True)])
    measured.searches([result(strategy=Strategy.FAISS_FIRST, source=Source.FAISS, tiers=("faiss",))])
    measured.searches([result(decision=Decision.UNKNOWN)])
    measured.searches([result(strategy=Strategy.QDRANT_ONLY, source=Source.QDRANT, tiers=("qdrant",))])
    assert measured.snapshot().hit_rate == HitRate(
        hit_rate=round(2 / 3, 4), served_from_cache=0.25, wrong_cache_top1=0.25, unknown=0.25, queries=4
    )


def test_failures_give_the_error_rate_and_errors_their_codes():
    measured = Metrics()
    for _ in range(3):
        measured.searches([result()])
    measured.failed("busy", 1)
    measured.error("no_face")
    seen = measured.snapshot()
    assert seen.error_rate == 0.25
    assert seen.errors == {"no_face": 1}
    assert seen.totals.failures == {"busy": 1}


def test_searches_that_do_not_count_are_told_apart(service, variants):
    load_demo_gallery(service)
    before = service.monitor.stats()["totals"]
    service.store.search(service.ledger.people.templates("eileen-collins")[0].vector, counted=False)
    after = service.monitor.stats()["totals"]
    assert after["uncounted_searches"] == before["uncounted_searches"] + 1
    assert after["searches"] == before["searches"]


def test_failures_of_searches_that_do_not_count_are_no_live_failures(make_service):
    service = make_service(faiss_enabled=False, qdrant_url="http://127.0.0.1:1", qdrant_grpc_port=1)
    probe = np.ones(128, np.float32)
    with pytest.raises(Unavailable):
        service.store.search(probe, counted=False)
    assert service.monitor.stats()["error_rate"] is None
    with pytest.raises(Unavailable):
        service.store.search(probe)
    assert service.monitor.stats()["error_rate"] == 1.0


# ---------------------------------------------------------------- objectives


def test_an_objective_is_kept_below_its_limit_and_missed_at_it():
    measured = Measured()
    for ms in (1.0, 29.9, 30.0):
        measured.search(result(timings=SearchTimings(ms, hot=ms - 0.5, join=0.5)))
    kept = measured.objectives["hot"]
    assert (kept.inside, kept.burned) == (2, {"hot": 1})


def test_a_search_that_asked_qdrant_has_the_cold_limit_and_names_what_took_longest():
    measured = Measured()
    measured.search(result(timings=SearchTimings(49.0, hot=1.0, cold=47.0, join=1.0)))
    measured.search(result(timings=SearchTimings(80.0, hot=1.0, cold=71.0, join=8.0)))
    measured.search(result(timings=SearchTimings(90.0, hot=1.0, cold=7.0, join=2.0)))
    cold = measured.objectives["cold"]
    assert (cold.inside, cold.burned) == (1, {"cold": 1, "waiting": 1})


def test_both_tiers_at_once_leave_more_time_to_the_queue_than_one_after_the_other():
    timings = SearchTimings(10.0, hot=4.0, cold=6.0)
    assert stages_of_search(Strategy.HYBRID, timings)["waiting"] == 4.0
    assert stages_of_search(Strategy.FAISS_FIRST, timings)["waiting"] == 0.0


@dataclass
class Doing:
    metrics: Metrics

    @as_request(ENROLLMENT)
    def enroll(self, ms: float) -> None:
        self.metrics.stage("detect", ms)

    @as_request(VERIFICATION)
    def verify(self, found: SearchResult) -> None:
        self.metrics.stage("embed", 5.0)
        self.metrics.recognised((found,))


def test_requests_are_listed_with_the_stages_of_their_own_thread():
    measured = Metrics()
    Doing(measured).enroll(7.0)
    Doing(measured).verify(result(timings=SearchTimings(3.0, hot=2.0, join=0.5)))
    seen = {request.kind: request for request in measured.slowest()}
    assert seen["enrollment"].stages["detect"] == 7.0
    assert seen["verification"].stages.keys() >= {"embed", "hot", "join", "waiting", "rest"}
    assert seen["verification"].strategy == "hybrid"
    points, total = measured.points(60)
    assert total.objectives["enroll"].inside == 1
    assert points[-1].summary.by_stage.keys() == {"detect", "embed", "enroll"}


def test_the_slow_list_keeps_the_worst_of_each_kind_and_forgets_old_ones():
    clock = Clock()
    measured = clock.metrics()
    for ms in np.random.default_rng(2).permutation(2_000):
        measured.searches([result(float(ms) + 1)])
    worst = measured.slowest()
    assert [request.total_ms for request in worst] == [float(ms) for ms in range(2_000, 2_000 - KEPT, -1)]
    clock.pass_(3_600)
    measured.searches([result(5_000.0)])
    assert measured.slowest()[0].total_ms == 5_000.0
    clock.pass_(HOURS * 3_600 - 1_800)
    assert [request.total_ms for request in measured.slowest()] == [5_000.0]


# ---------------------------------------------------------------- series


def test_the_series_has_a_point_per_step_and_fills_gaps():
    clock = Clock()
    measured = clock.metrics()
    for _ in range(10):
        measured.searches([result(2.0)])
    clock.pass_(17.0)
    series = measured.series()
    assert series.t == [1_600_000_000.0 + 5 * n for n in range(3)]  # the present step has just begun
    assert series.searches_per_s == [2.0, 0.0, 0.0]
    assert series.p95_ms == [pytest.approx(2.0, rel=h.ERROR), None, None]


def test_the_series_stays_bounded_over_a_long_gap():
    clock = Clock()
    measured = clock.metrics()
    clock.pass_(1e6)
    series = measured.series()
    assert len(series.t) == 179
    assert series.t[-1] == 1_600_999_995.0
    assert len(measured.take()) == 180


def test_a_first_step_that_began_late_is_not_taken_for_a_whole_one():
    clock = Clock(monotonic=1_003.0)
    measured = clock.metrics()
    for _ in range(4):
        measured.searches([result()])
    clock.pass_(7.0)
    assert measured.series().searches_per_s[0] == 2.0


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps_moves_the_times_and_loses_nothing(jump: float):
    clock = Clock()
    measured = clock.metrics()
    measured.searches([result()])
    clock.pass_(20.0)
    clock.wall += jump
    measured.searches([result()])
    series = measured.series()
    assert series.t == [1_600_000_000.0 + jump + 5 * n for n in range(4)]
    assert series.searches_per_s == [0.2, 0.0, 0.0, 0.0]
    assert measured.snapshot().totals.searches["hybrid"] == 2


def test_what_is_kept_as_json_is_what_was_measured():
    measured = Measured(observed=60.0, faces=3)
    for ms in (1.0, 40.0, 90.0):
        measured.search(result(timings=SearchTimings(ms, hot=1.0, cold=ms - 1.0)))
    measured.failures["busy"] = 2
    lag = GaugeKey(LAG, "qdrant")
    measured.gauge(lag, 5.0)
    assert to_json(from_json(to_json(measured))) == to_json(measured)
    twice = from_json(to_json(measured))
    twice.add(measured)
    assert (twice.observed, twice.searches, twice.failures, twice.gauges[lag].looks) == (
        120.0,
        6,
        {"busy": 4},
        2,
    )
