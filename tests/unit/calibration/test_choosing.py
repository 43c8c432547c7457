"""A threshold keeps its target, costs what it says, and claims nothing that the sample cannot support."""

from dataclasses import replace

import numpy as np
import pytest

from core.calibration.curve import curve_of, extrapolate
from core.calibration.model import Target
from core.calibration.threshold_choice import choose, one_in
from core.domain.decisions import Rule
from core.domain.errors import BadInput
from tests.unit.calibration.conftest import RULE, calibration_of


@pytest.fixture(scope="module")
def calibration():
    return calibration_of([3] * 200, dimension=32)


def test_one_to_one_is_the_lowest_threshold_that_keeps_the_target(calibration):
    choice = choose(calibration, Target(1, 1000, "1:1"))
    impostor, genuine = calibration.scores.impostor, calibration.scores.genuine
    assert choice.supported
    assert choice.measured
    assert (impostor >= choice.threshold).mean() <= 0.001 < (impostor >= choice.threshold - 0.001).mean()
    assert choice.false_match.value == pytest.approx((impostor >= choice.threshold).mean())
    assert choice.false_match.errors == (impostor >= choice.threshold).sum()
    assert choice.miss.value == pytest.approx((genuine < choice.threshold).mean())
    assert choice.false_match.interval.low <= choice.false_match.value <= choice.false_match.interval.high


def test_one_to_many_at_its_own_size_is_measured_with_the_margin(calibration):
    choice = choose(calibration, Target(5, 100, "1:N"))
    probes = calibration.scores.open_set
    matched = (probes.best >= choice.threshold) & (probes.best - probes.second >= RULE.margin)
    assert choice.supported
    assert choice.measured
    assert choice.gallery_size == 200
    assert choice.false_match.value == pytest.approx(matched.mean())
    assert choice.false_match.value <= 0.05
    found = (probes.own >= choice.threshold) & (probes.own - probes.best >= RULE.margin)
    assert choice.miss.value == pytest.approx(1 - found.mean())
    assert "Measured" in choice.why


def test_another_size_goes_by_the_formula(calibration):
    choice = choose(calibration, Target(1, 10, "1:N"), gallery_size=400)
    at = int(np.argmin(np.abs(calibration.curve.thresholds - choice.threshold)))
    assert not choice.measured
    assert choice.false_match.value == pytest.approx(float(extrapolate(calibration.curve.fmr.value[at], 400)))
    assert choice.false_match.value <= 0.1
    assert choice.threshold > choose(calibration, Target(1, 10, "1:N"), gallery_size=50).threshold


def test_a_target_beyond_the_sample_is_refused_with_what_would_be_needed(calibration):
    choice = choose(calibration, Target(1, 1_000_000, "1:1"))
    pairs = 200 * 199 // 2
    assert not choice.supported
    assert choice.false_match.errors == 0
    assert (calibration.scores.impostor < choice.threshold).all()
    assert (calibration.scores.impostor >= choice.threshold - 0.001).any()
    assert f"{pairs:,} pairs of people" in choice.why
    assert "the true rate could be as high as 1 in 6,633" in choice.why  # 3 / pairs
    assert "2,450 people with 3,000,000 comparisons" in choice.why  # 2450 * 2449 / 2 pairs
    assert choice.false_match.interval.high >= calibration.figures.smallest_fmr


def test_one_to_many_names_a_sample_that_would_do(calibration):
    """At its own size a gallery has twice the people as it is worth strangers: 2 * 3 / rate."""
    why = choose(calibration, Target(1, 100, "1:N")).why
    assert "1 in 100 cannot be shown with 200 people" in why
    assert "could be as high as 1 in 33. About 600 people would be needed." in why
    assert choose(calibration_of([1] * 600), Target(1, 100, "1:N")).supported
    far = choose(calibration, Target(1, 1000, "1:N"), gallery_size=1_000_000)
    assert "the true rate in a gallery of 1,000,000 people could be almost anything" in far.why
    assert "77,441 people with 2,998,499,752 comparisons" in far.why  # 3 / (1 - 0.999^(1/1,000,000)) pairs
    assert not far.supported


def test_without_second_photos_a_threshold_is_chosen_and_misses_are_not_known():
    choice = choose(calibration_of([1] * 200, dimension=32), Target(5, 100, "1:N"))
    assert choice.supported
    assert choice.false_match.value <= 0.05
    assert choice.miss is None
    assert choice.review is None


def test_the_edge_of_what_is_supported(calibration):
    smallest = calibration.figures.smallest_fmr
    assert choose(calibration, Target(smallest * 1e6 * 1.0001, 1_000_000, "1:1")).supported
    assert not choose(calibration, Target(smallest * 1e6 * 0.999, 1_000_000, "1:1")).supported


def test_a_threshold_stays_above_the_review_band_and_below_one():
    calibration = calibration_of([2] * 40, Rule(0.6, 0.0, 0.4))
    assert choose(calibration, Target(1, 1, "1:1")).threshold == pytest.approx(0.401)


def test_one_person_under_two_names_leaves_no_threshold(calibration):
    scores = calibration_of([2] * 40)
    scores.scores.impostor[0] = 1.0
    curve, _ = curve_of(scores.scores, RULE)
    choice = choose(replace(scores, curve=curve), Target(1, 1_000_000, "1:1"))
    assert not choice.supported
    assert choice.threshold < 1
    assert "enrolled twice" in choice.why


@pytest.mark.parametrize("target", [(0, 10), (-1, 10), (11, 10), (1, 0), (float("nan"), 10)])
def test_a_target_that_is_no_rate_is_refused(calibration, target):
    with pytest.raises(BadInput) as problem:
        choose(calibration, Target(*target, "1:N"))
    assert problem.value.code == "bad_parameter"


def test_a_gallery_of_nobody_is_refused(calibration):
    with pytest.raises(BadInput):
        choose(calibration, Target(1, 10, "1:N"), gallery_size=0)


def test_rates_in_words():
    assert [one_in(rate) for rate in (0.0001, 0.1, 0.25, 0.0)] == ["1 in 10,000", "1 in 10", "25%", "0%"]
