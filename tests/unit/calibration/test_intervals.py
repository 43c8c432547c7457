"""Intervals against published values, scipy, and simulations in which the truth is known."""

import numpy as np
import pytest
from scipy.stats import binomtest

from core.calibration.curve import curve_of, extrapolate
from core.calibration.score_blocks import compare
from core.domain import statistics
from tests.unit.calibration.conftest import RULE, calibration_of, faces_of


@pytest.mark.parametrize(("errors", "trials"), [(0, 10), (1, 10), (5, 10), (10, 10), (3, 1000), (81, 263)])
def test_wilson_and_clopper_pearson_are_scipys(errors, trials):
    for method, interval in (("wilson", statistics.wilson(errors, trials)), ("exact", None)):
        expected = binomtest(errors, trials).proportion_ci(0.95, method)
        low, high = (
            (interval.low, interval.high)
            if interval
            else map(float, statistics.clopper_pearson(errors, trials))
        )
        assert low == pytest.approx(expected.low, abs=1e-9)
        assert high == pytest.approx(expected.high, abs=1e-9)


def test_wilson_of_the_textbook():
    """81 of 263: R. G. Newcombe, Statistics in Medicine 17 (1998), table I."""
    interval = statistics.wilson(81, 263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)
    assert statistics.wilson(0, 0) == statistics.Interval(0.0, 1.0)
    for trials in range(1, 50):
        assert statistics.wilson(0, trials).low == 0.0
        assert statistics.wilson(trials, trials).high == 1.0


def test_rule_of_three():
    assert statistics.smallest_rate(300) == 0.01
    assert statistics.smallest_rate(2) == statistics.smallest_rate(0) == 1
    assert statistics.trials_for(0.01) == 300
    chance_of_none = (1 - statistics.smallest_rate(3000)) ** 3000
    assert chance_of_none == pytest.approx(0.05, abs=0.001)


def test_people_are_drawn_with_replacement_and_by_the_seed():
    weights = list(statistics.drawn_anew(50, 1, 300))
    assert all(sample.sum() == 50 for sample in weights)
    assert np.mean(weights) == pytest.approx(1)
    assert np.var(weights) == pytest.approx(1 - 1 / 50, rel=0.05)
    assert np.array_equal(weights, list(statistics.drawn_anew(50, 1, 300)))


def test_photos_of_few_people_do_not_count_as_many_trials():
    """Ten people with fifty photos each, one of whom is never recognised: that is 1 of 10, not 50 of 500."""
    scores = compare(faces_of([50] * 10), impostors=10_000, seed=0)
    scores.genuine[scores.genuine_person == 0] = -0.5
    curve, _ = curve_of(scores, RULE)
    at = int(np.searchsorted(curve.thresholds, 0.0))
    assert curve.fnmr.value[at] == pytest.approx(0.1)
    low, high = map(float, statistics.clopper_pearson(1, 10))
    assert curve.fnmr.low[at] < 0.02
    assert curve.fnmr.high[at] == pytest.approx(high, abs=0.1)
    assert curve.fnmr.low[at] == pytest.approx(low, abs=0.02)


def test_no_error_at_all_gives_no_false_certainty():
    separation = calibration_of([4] * 12, spread=0.02).figures.separation
    assert separation is not None
    assert separation.eer == 0
    assert separation.eer_interval.high > 0.2  # of twelve people


def test_the_true_fnmr_is_inside_its_interval_as_often_as_promised():
    """Galleries of 40 drawn from one population; the truth from a very large one."""
    threshold = 0.5
    truth = _fnmr(faces_of([3] * 1500, seed=99), threshold)[0]
    inside = 0
    for seed in range(30):
        _, low, high = _fnmr(faces_of([3] * 40, seed=seed), threshold)
        inside += low <= truth <= high
    assert 0.02 < truth < 0.5
    assert inside >= 27  # 28 or 29 are expected


def _fnmr(faces, threshold):
    curve, _ = curve_of(compare(faces, impostors=5000, seed=0), RULE)
    at = int(np.searchsorted(curve.thresholds, threshold))
    return curve.fnmr.value[at], curve.fnmr.low[at], curve.fnmr.high[at]


def test_the_true_fmr_is_inside_its_interval_as_often_as_promised():
    threshold = 0.7
    truth = _fmr(faces_of([3] * 1500, seed=99), threshold, 400_000)[0]
    inside = 0
    for seed in range(30):
        _, low, high = _fmr(faces_of([3] * 40, seed=seed), threshold, 10_000)
        inside += low <= truth <= high
    assert 1e-4 < truth < 0.05
    assert inside >= 27


def _fmr(faces, threshold, sample):
    curve, _ = curve_of(compare(faces, impostors=sample, seed=0), RULE)
    at = int(np.searchsorted(curve.thresholds, threshold))
    return curve.fmr.value[at], curve.fmr.low[at], curve.fmr.high[at]


def test_everybody_in_turn_is_worth_half_as_many_strangers():
    assert statistics.strangers(2, 1) == 1  # one pair
    assert statistics.strangers(40, 39) == 20
    assert statistics.strangers(100, 1_000_000) == pytest.approx(100, rel=1e-4)


def test_no_false_match_promises_no_more_than_is_true():
    """Galleries of 40 without a false match: how often is the true FPIR above what is called the smallest?

    A rate of just under 3 / 40 leaves far more than one gallery in twenty without any, as each pair of people
    is met twice; one of 3 / strangers(40) does not.
    """
    random = np.random.default_rng(4)
    claimed = statistics.smallest_rate(statistics.strangers(40, 39))
    none = dict.fromkeys((3 / 40, claimed), 0)
    for rate in none:
        fmr = 1 - (1 - rate) ** (1 / 39)
        for _ in range(1000):
            none[rate] += not (random.random(40 * 39 // 2) < fmr).any()
    assert none[3 / 40] > 150  # of 1000
    assert none[claimed] < 60


def test_the_true_fpir_is_inside_its_interval_as_often_as_promised():
    """One photo each: every false match is met from both sides."""
    threshold = 0.6
    found = [_fpir(faces_of([1] * 40, seed=seed), threshold) for seed in range(60)]
    truth = np.mean([value for value, *_ in found])
    assert 0.1 < truth < 0.3
    assert sum(low <= truth <= high for _, low, high in found) >= 57


def _fpir(faces, threshold):
    fpir = curve_of(compare(faces, impostors=5000, seed=0), RULE)[0]
    at = int(np.searchsorted(fpir.thresholds, threshold))
    return fpir.fpir.value[at], fpir.fpir.low[at], fpir.fpir.high[at]


# ---------------------------------------------------------------- extrapolation


def test_extrapolation_is_the_formula_also_for_tiny_rates():
    assert extrapolate(0.01, 100) == pytest.approx(1 - 0.99**100)
    assert extrapolate(1e-12, 1000) == pytest.approx(1e-9, rel=1e-6)
    assert extrapolate(1.0, 10) == 1
    assert extrapolate(0.0, 10) == 0


@pytest.mark.parametrize("people", [10, 100, 1000])
def test_extrapolated_fpir_is_that_of_simulated_galleries(people):
    """Independent comparisons with a known FMR, searched as 1:N."""
    random = np.random.default_rng(people)
    fmr, probes = 0.002, 4000
    best = np.max(random.random((probes, people)), axis=1)
    expected = float(extrapolate(fmr, people))
    interval = statistics.wilson(int((best >= 1 - fmr).sum()), probes)
    assert interval.low <= expected <= interval.high


def test_ten_times_the_gallery_as_extrapolated_and_as_enrolled():
    """A gallery of 200 people foretells FPIR and FNIR of one of 2,000 from the same population."""
    small, large = (calibration_of([2] * people, dimension=32, seed=5) for people in (200, 2000))
    foretold = small.curve.extrapolated[1]
    assert (foretold.factor, foretold.people) == (10, 2000)
    for threshold in (0.5, 0.55, 0.6):
        there = int(np.argmin(np.abs(large.curve.thresholds - threshold)))
        here = int(np.argmin(np.abs(small.curve.thresholds - threshold)))
        low, high = (extrapolate(end[here], 2000) for end in (small.curve.fmr.low, small.curve.fmr.high))
        assert low <= foretold.fpir[here] <= high
        assert low <= large.curve.fpir.value[there] <= high
        assert foretold.fnir[here] == pytest.approx(large.curve.fnir.value[there], rel=0.3, abs=0.02)


def test_at_its_own_size_the_formula_gives_what_was_measured():
    curve = calibration_of([2] * 300, dimension=32, seed=6).curve
    own = curve.extrapolated[0]
    interesting = (curve.fpir.value > 0.02) & (curve.fpir.value < 0.98)
    assert np.abs(own.fpir - curve.fpir.value)[interesting].max() < 0.06
    assert np.abs(own.fnir - curve.fnir.value).max() < 0.06
