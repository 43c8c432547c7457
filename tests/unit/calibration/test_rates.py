"""Rates, areas and curves agree with scikit-learn, with numpy, and with the decision rule itself."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import det_curve, roc_auc_score, roc_curve

from core.calibration.calibrate import IMPOSTORS, of_faces, of_gallery
from core.calibration.curve import curve_of
from core.calibration.faces import read
from core.calibration.progress import ProgressWatch
from core.calibration.score_blocks import person_similarities
from core.calibration.summary import area_under_roc, d_prime, equal_error
from core.calibration.thresholds import binned, reaching
from core.domain.decisions import LookAlikes, Rule
from core.domain.search import Decision
from tests.unit.calibration.conftest import PACK, RULE, calibration_of, enroll, faces_of


@pytest.fixture(scope="module")
def scores():
    """Overlapping, rounded so that some are equal, and never within the rule's tolerance of each other."""
    random = np.random.default_rng(2)
    genuine = np.round(random.normal(0.6, 0.1, 800), 3).astype(np.float32)
    impostor = np.round(random.normal(0.3, 0.12, 5000), 3).astype(np.float32)
    labels = np.r_[np.ones(800), np.zeros(5000)]
    return genuine, impostor, labels, np.r_[genuine, impostor]


def rates(scores, thresholds):
    return reaching(binned(scores, thresholds), len(thresholds)) / len(scores)


def test_fmr_and_fnmr_are_those_of_roc_curve(scores):
    genuine, impostor, labels, values = scores
    fpr, tpr, thresholds = roc_curve(labels, values, drop_intermediate=False)
    ascending = thresholds[1:][::-1].astype(np.float64)  # the first one is infinite
    assert np.allclose(rates(impostor, ascending), fpr[1:][::-1], atol=0, rtol=1e-12)
    assert np.allclose(1 - rates(genuine, ascending), 1 - tpr[1:][::-1], atol=1e-12)


def test_det_points_are_those_of_det_curve(scores):
    genuine, impostor, labels, values = scores
    fpr, fnr, thresholds = det_curve(labels, values)
    finite = np.isfinite(thresholds)
    order = np.argsort(thresholds[finite])
    ascending = thresholds[finite][order].astype(np.float64)
    assert np.allclose(rates(impostor, ascending), fpr[finite][order], atol=1e-12)
    assert np.allclose(1 - rates(genuine, ascending), fnr[finite][order], atol=1e-12)


def test_auc_is_roc_auc_score_with_ties(scores):
    genuine, impostor, labels, values = scores
    assert area_under_roc(genuine, impostor) == pytest.approx(roc_auc_score(labels, values), abs=1e-12)


def test_eer_is_where_the_roc_curve_has_it(scores):
    genuine, impostor, labels, values = scores
    fpr, tpr, thresholds = roc_curve(labels, values, drop_intermediate=False)
    nearest = np.argmin(np.abs(fpr - (1 - tpr)))
    rate, threshold = equal_error(genuine, impostor)
    assert rate == pytest.approx((fpr[nearest] + 1 - tpr[nearest]) / 2, abs=1e-12)
    assert threshold == pytest.approx(thresholds[nearest], abs=1e-6)


def test_eer_of_separated_and_of_swapped_scores():
    low, high = np.float32([0.1, 0.2]), np.float32([0.8, 0.9])
    assert equal_error(high, low)[0] == 0
    assert equal_error(low, high)[0] == 1


def test_d_prime_by_its_formula(scores):
    genuine, impostor, *_ = scores
    expected = (genuine.mean() - impostor.mean()) / np.sqrt((genuine.var() + impostor.var()) / 2)
    assert d_prime(genuine, impostor) == pytest.approx(expected, rel=1e-5)
    assert d_prime(np.float32([1, 1]), np.float32([1, 1])) == 0


@pytest.fixture(scope="module")
def calibration():
    return calibration_of([1, 2, 3, 4, 2, 2] * 10)


def test_the_curve_runs_from_accepting_all_to_accepting_none(calibration):
    curve = calibration.curve
    assert (np.diff(curve.thresholds) > 0).all()
    assert (curve.fmr.value[0], curve.fnmr.value[0]) == (1, 0)
    assert (curve.fmr.value[-1], curve.fnmr.value[-1], curve.fpir.value[-1], curve.fnir.value[-1]) == (
        0,
        1,
        0,
        1,
    )
    assert curve.thresholds[0] <= 0
    assert curve.thresholds[-1] >= 1
    for band in (curve.fmr, curve.fpir, curve.fpir_decided):
        assert (np.diff(band.value) <= 0).all()
    for band in (curve.fnmr, curve.fnir, curve.fnir_decided):
        assert (np.diff(band.value) >= -1e-15).all()
    for band in (curve.fmr, curve.fnmr, curve.fpir, curve.fnir, curve.fpir_decided, curve.fnir_decided):
        assert (band.low <= band.value + 1e-12).all()
        assert (band.value <= band.high + 1e-12).all()
        assert (band.low >= 0).all()
        assert (band.high <= 1).all()


def decisions(faces, rule: Rule, *, stranger: bool):
    """What the decision rule makes of each template as a probe, person by person, without the template."""
    outcomes = []
    for row, vector in enumerate(faces.vectors):
        best: dict[int, float] = {}
        for other, person in enumerate(faces.person.tolist()):
            if other != row and not (stranger and person == faces.person[row]):
                best[person] = max(best.get(person, -2), float(faces.vectors[other] @ vector))
        ranked = sorted(best.items(), key=lambda item: -item[1])
        if stranger or int(faces.person[row]) in best:
            own = ranked[0][0] == faces.person[row]
            persons = [int(faces.numbers[person]) for person, _ in ranked[:2]]
            outcomes.append((rule.decide([value for _, value in ranked[:2]], persons), own, ranked[0][1]))
    return outcomes


@pytest.fixture(scope="module")
def with_pairs():
    """As `calibration`, where the people most alike were confirmed to be two; one of a pair is not here."""
    faces = faces_of([1, 2, 3, 4, 2, 2] * 10)
    margins = {(3, 9999): 0.5}
    similarity = person_similarities(faces, np.arange(faces.templates))
    similarity[np.arange(faces.templates), faces.person] = -1
    for row in np.argsort(-similarity.max(axis=1))[:40]:
        one, other = int(faces.person[row]), int(similarity[row].argmax())
        margins[(faces.numbers[min(one, other)], faces.numbers[max(one, other)])] = 0.2
    rule = replace(RULE, look_alikes=LookAlikes(margins))
    alike = faces.look_alikes(rule.look_alikes)
    assert len(alike.margins) == len(margins) - 1
    return of_faces(faces, PACK, rule, look_alikes=alike, watch=ProgressWatch())


def test_a_confirmed_pairs_own_margin_changes_the_rates(calibration, with_pairs):
    plain, wider = calibration.curve, with_pairs.curve
    assert (wider.fnir_decided.value > plain.fnir_decided.value).any()
    assert (wider.fpir_decided.value < plain.fpir_decided.value).any()
    assert (wider.review > plain.review).any()
    assert np.array_equal(wider.fnir.value, plain.fnir.value)


def test_a_gallerys_confirmed_pairs_count_and_an_uploaded_sets_people_are_others(service):
    enroll(service, [2, 2])
    service.tuning.confirm_pair("p0", "p1", 0.99)
    gallery, pack, rule = read(service.ledger, 128), service.engine.pack, service.store.rule()
    found = of_gallery(gallery, pack, rule, impostors=IMPOSTORS, seed=0, watch=ProgressWatch())
    assert (found.curve.fnir_decided.value == 1).all()
    others = of_faces(faces_of([2, 2]), PACK, service.store.rule(), watch=ProgressWatch())
    assert others.curve.fnir_decided.value[0] == 0


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8])
@pytest.mark.parametrize("made", ["calibration", "with_pairs"])
def test_1_to_n_rates_are_those_of_the_decision_rule(request, made, threshold):
    calibration = request.getfixturevalue(made)
    faces = faces_of([1, 2, 3, 4, 2, 2] * 10)
    at = int(np.argmin(np.abs(calibration.curve.thresholds - threshold)))
    rule = replace(calibration.rule, threshold=float(calibration.curve.thresholds[at]))
    strangers = decisions(faces, rule, stranger=True)
    known = decisions(faces, rule, stranger=False)
    curve = calibration.curve
    matched = [decision is Decision.MATCH for decision, *_ in strangers]
    assert curve.fpir_decided.value[at] == pytest.approx(np.mean(matched))
    assert curve.fpir.value[at] == pytest.approx(np.mean([best >= rule.threshold for *_, best in strangers]))
    found = [decision is Decision.MATCH and own for decision, own, _ in known]
    assert curve.fnir_decided.value[at] == pytest.approx(1 - np.mean(found))
    first = [own and best >= rule.threshold for _, own, best in known]
    assert curve.fnir.value[at] == pytest.approx(1 - np.mean(first))
    reviewed = [decision is Decision.REVIEW for decision, *_ in known]
    assert curve.review[at] == pytest.approx(np.mean(reviewed))
    assert calibration.figures.separation.rank_one == pytest.approx(np.mean([own for _, own, _ in known]))


def test_the_histogram_counts_every_score(calibration):
    histogram, scores = calibration.histogram, calibration.scores
    assert histogram.genuine.sum() == len(scores.genuine)
    assert histogram.impostor.sum() == len(scores.impostor)
    assert np.array_equal(histogram.genuine, np.histogram(scores.genuine, histogram.edges)[0])


def test_a_calibration_is_the_same_for_the_same_seed(calibration):
    again = calibration_of([1, 2, 3, 4, 2, 2] * 10)
    assert again.figures == calibration.figures
    assert np.array_equal(again.curve.fmr.high, calibration.curve.fmr.high)


def test_few_people_are_warned_of(calibration):
    assert any("50 people" in sentence for sentence in calibration.figures.warnings)
    assert calibration.figures.smallest_fmr == pytest.approx(3 / (60 * 59 / 2))
    assert calibration.figures.smallest_fpir == pytest.approx(6 / 60)  # 60 people, each pair met twice


def test_the_curve_can_be_stopped(calibration):
    def step(share: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        curve_of(calibration.scores, RULE, step)


@pytest.mark.parametrize("counts", [[1] * 30, [4] + [1] * 29])
def test_without_second_photos_false_matches_are_measured_and_misses_are_not(counts):
    """Also when only one person has several photos: one alone says nothing of others."""
    calibration = calibration_of(counts)
    faces, curve = faces_of(counts), calibration.curve
    at = int(np.argmin(np.abs(curve.thresholds - 0.6)))
    rule = Rule(float(curve.thresholds[at]), RULE.margin, RULE.review_band)
    strangers = decisions(faces, rule, stranger=True)
    assert curve.fpir.value[at] == pytest.approx(np.mean([best >= rule.threshold for *_, best in strangers]))
    assert curve.fpir_decided.value[at] == pytest.approx(
        np.mean([decision is Decision.MATCH for decision, *_ in strangers])
    )
    assert curve.fmr.value[at] == pytest.approx(np.mean(calibration.scores.impostor >= rule.threshold))
    assert 0 < curve.fmr.value[at] < curve.fmr.high[at] < 1
    assert (curve.fnmr, curve.fnir, curve.fnir_decided, curve.review) == (None, None, None, None)
    assert all(larger.fnir is None for larger in curve.extrapolated)
    assert calibration.figures.separation is None
    assert "missed cannot be measured" in calibration.figures.warnings[0]
    assert calibration.histogram.genuine.sum() == 0


def test_two_people_with_a_photo_each_are_enough_to_say_how_little_is_known():
    figures = calibration_of([1, 1]).figures
    assert (figures.smallest_fmr, figures.smallest_fpir) == (1, 1)
