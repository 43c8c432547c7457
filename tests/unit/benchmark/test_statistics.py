"""Intervals and verdicts against numpy, scipy and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from core.benchmark import statistics as stats
from core.benchmark.model import Estimate

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("n", [1, 7, 100, 1003])
def test_percentiles_are_numpys_and_their_ends_the_binomials_order_statistics(q, n):
    ms = RNG.lognormal(size=n).tolist()
    found = stats.percentile(ms, q)
    assert found is not None
    assert found.value == pytest.approx(np.quantile(ms, q))
    low = int(scipy_stats.binom.ppf(0.025, n, q))
    high = int(scipy_stats.binom.ppf(0.975, n, q)) + 1
    ordered = sorted(ms)
    assert found.low == (ordered[low - 1] if low >= 1 else None)
    assert found.high == (ordered[high - 1] if high <= n else None)


def test_the_interval_of_a_percentile_holds_the_true_one_as_often_as_it_says():
    true = float(scipy_stats.lognorm.ppf(0.95, 1.0))
    found = [stats.percentile(RNG.lognormal(size=300).tolist(), 0.95) for _ in range(400)]
    held = np.mean([one.low <= true <= (one.high or np.inf) for one in found if one])
    assert 0.93 <= held <= 0.995


def test_a_sample_too_small_for_an_end_says_so():
    found = stats.percentile([1.0] * 50, 0.99)
    assert found == Estimate(1.0, 1.0, None)
    assert stats.percentile([], 0.5) is None


def test_shares_have_wilsons_interval():
    found = stats.share(97, 100)
    low, high = scipy_stats.binomtest(97, 100).proportion_ci(method="wilson")
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.97, low, high), abs=1e-9)
    assert stats.share(0, 0) is None


def test_a_rate_is_of_all_searches_and_varies_as_the_blocks_do():
    counts, seconds = [20, 20, 20, 20], [0.1, 0.1, 0.2, 0.1]
    found = stats.rate(counts, seconds)
    rates = np.array(counts) / np.array(seconds)
    half = scipy_stats.t.ppf(0.975, 3) * scipy_stats.sem(rates)
    assert found is not None
    assert found.value == pytest.approx(160)
    assert found.high == pytest.approx(160 + half)
    assert stats.rate([5], [1.0]) == Estimate(5.0, None, None)
    assert stats.rate([], []) is None


@pytest.mark.parametrize("n", [1, 30, 500, 4000])
def test_the_curve_is_the_distributions_own(n):
    ms = RNG.lognormal(size=n)
    curve = stats.ecdf(ms.tolist())
    assert len(curve.ms) <= stats.ECDF_POINTS + stats.ECDF_TAIL
    for value, share in zip(curve.ms, curve.share, strict=True):
        below, up_to = np.mean(ms < value - 6e-5), np.mean(ms <= value + 6e-5)  # values are rounded
        assert below - 1e-6 < share <= up_to + 1e-6
    assert curve.share[-1] == 1.0
    assert curve.ms[-1] == pytest.approx(ms.max(), abs=1e-4)
    assert list(curve.ms) == sorted(curve.ms)


def test_a_difference_of_shares_has_newcombes_interval():
    """His example: 56 of 70 and 48 of 80 differ by 0.2, from 0.0524 to 0.3339 (method 10)."""
    found = stats.gain(stats.share(48, 80), stats.share(56, 70), "worse", "better")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert found.word == "better"


def test_what_is_called_a_difference_is_one_nineteen_times_of_twenty():
    def p95(scale: float) -> Estimate | None:
        return stats.percentile((scale * RNG.lognormal(size=300)).tolist(), 0.95)

    same = [stats.gain(p95(1.0), p95(1.0), "faster", "slower") for _ in range(200)]
    assert np.mean([one.word == stats.NO_DIFFERENCE for one in same if one]) >= 0.93
    half = stats.gain(p95(1.0), p95(0.3), "faster", "slower")
    assert half is not None
    assert half.word == "faster"
    assert stats.gain(None, p95(1.0), "faster", "slower") is None


def test_an_open_end_allows_no_verdict_on_that_side():
    found = stats.gain(Estimate(1.0, 0.9, None), Estimate(9.0, 8.0, None), "faster", "slower")
    assert found is not None
    assert (found.low, found.high, found.word) == (None, None, stats.NO_DIFFERENCE)


def test_the_front_is_what_nothing_beats():
    costs, values = RNG.random(40).tolist(), RNG.random(40).tolist()
    expected = []
    for i in range(40):
        beaten = False
        for j in range(40):
            no_worse = costs[j] <= costs[i] and values[j] >= values[i]
            beaten |= no_worse and (costs[j], values[j]) != (costs[i], values[i])
        if not beaten:
            expected.append(i)
    assert stats.front(costs, values) == expected
    assert stats.front([1, 1], [0.5, 0.5]) == [0, 1], "equals do not beat each other"
