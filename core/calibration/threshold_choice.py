"""The threshold that keeps a target, what it costs, and whether the sample can promise it at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.calibration.curve import extrapolate
from core.calibration.model import Band, Calibration, Rate, Target, ThresholdChoice
from core.domain.errors import BadInput
from core.domain.statistics import Interval, Rates, trials_for

ROUNDING = 1e-9  # between a decimal and its float
NO_CLAIM = 0.5
HIGHEST = 0.999  # of the curve, and below 1 as a threshold must be
_DOUBLES = (
    "Some different people have practically the same picture here, so that no threshold tells them apart. "
    "Look at the confusable pairs first: one person may be enrolled twice."
)


@dataclass(frozen=True, slots=True, eq=False)
class _Evidence:
    """One way to know the false match rate at every threshold of the curve."""

    band: Band
    smallest: float
    errors: Rates  # at every threshold, of `trials`
    trials: int
    independent: int
    unit: str  # what `independent` counts, in words
    measured: bool


def choose(calibration: Calibration, target: Target, gallery_size: int | None = None) -> ThresholdChoice:
    """The lowest threshold that keeps `target` with so many people enrolled; as many as now when None.

    1:N at the gallery's own size goes by what was measured, with the margin to the second person. Where the
    sample of strangers is too small for that, and at other sizes, it goes by the formula, which knows no
    margin and so errs on the safe side.

    Raises:
        BadInput: `bad_parameter` for a target that is no rate, or a gallery of nobody.
    """
    people, evidence = _look(calibration, target, gallery_size)
    allowed = _allowed(calibration)
    supported = target.rate >= evidence.smallest
    keeps = allowed & (evidence.band.value <= (target.rate if supported else 0.0))
    if not keeps.any():
        at = int(np.flatnonzero(allowed)[-1])
        return _choice(calibration, target, people, evidence, at, supported=False, why=_DOUBLES)
    at = int(np.argmax(keeps))
    why = (_kept if supported else _unsupported)(target, people, evidence, at)
    return _choice(calibration, target, people, evidence, at, supported=supported, why=why)


def one_in(rate: float) -> str:
    """A rate in words: "1 in 10,000"."""
    return f"1 in {1 / rate:,.0f}" if 0 < rate <= 0.1 else f"{rate:.0%}"


def _needed(target: Target, people: int, *, measured: bool) -> str:
    """The smallest sample that would support a target by the rule of three.

    Where FPIR is measured at the gallery's own size, the people of the sample are gallery and strangers at
    once: as independent strangers they count half.
    """
    rate = min(target.rate, HIGHEST)
    if target.kind == "1:N" and measured:
        return f"{2 * trials_for(rate):,} people"
    pairs = trials_for(rate if target.kind == "1:1" else float(-np.expm1(np.log1p(-rate) / people)))
    return f"{_people_with(pairs):,} people with {pairs:,} comparisons"


def _people_with(pairs: int) -> int:
    """People among whom there are at least so many pairs."""
    return int(np.ceil((1 + np.sqrt(1 + 8.0 * pairs)) / 2))


def _look(calibration: Calibration, target: Target, gallery_size: int | None) -> tuple[int, _Evidence]:
    people = calibration.scores.people if gallery_size is None else gallery_size
    rate_ok = target.probes >= 1 and 0 < target.false_matches <= target.probes
    if not rate_ok:
        raise BadInput(
            "bad_parameter",
            "The target must allow more than no false match, and not more than there are probes.",
            "Try at most 1 false match in 10,000 probes.",
        )
    if people < 1:
        raise BadInput("bad_parameter", "The gallery must have at least one person.", "Enter its size.")
    return people, _evidence(calibration, target, people)


def _evidence(calibration: Calibration, target: Target, people: int) -> _Evidence:
    scores, curve, figures = calibration.scores, calibration.curve, calibration.figures
    false_matches = curve.fmr.value * len(scores.impostor)
    if target.kind == "1:1":
        return _Evidence(
            curve.fmr,
            figures.smallest_fmr,
            false_matches,
            len(scores.impostor),
            scores.impostor_pairs,
            "pairs of people",
            measured=True,
        )
    by_formula = _Evidence(
        Band(*(extrapolate(part, people) for part in (curve.fmr.value, curve.fmr.low, curve.fmr.high))),
        float(extrapolate(figures.smallest_fmr, people)),
        false_matches,
        len(scores.impostor),
        scores.impostor_pairs,
        "pairs of people",
        measured=False,
    )
    own_size = people == scores.people
    formula_reaches_further = by_formula.smallest <= target.rate < figures.smallest_fpir
    if not own_size or formula_reaches_further:
        return by_formula
    probes = scores.open_set.person
    return _Evidence(
        curve.fpir_decided,
        figures.smallest_fpir,
        curve.fpir_decided.value * len(probes),
        len(probes),
        len(np.unique(probes)),
        "people",
        measured=True,
    )


def _allowed(calibration: Calibration) -> NDArray[np.bool_]:
    """Thresholds that can be set: above the review band, so that its lower end stays above 0, below 1."""
    thresholds = calibration.curve.thresholds
    allowed: NDArray[np.bool_] = (thresholds > calibration.rule.review_band + ROUNDING) & (
        thresholds <= HIGHEST + ROUNDING
    )
    return allowed


def _choice(
    calibration: Calibration,
    target: Target,
    people: int,
    evidence: _Evidence,
    at: int,
    *,
    supported: bool,
    why: str,
) -> ThresholdChoice:
    curve = calibration.curve
    return ThresholdChoice(
        target=target,
        gallery_size=people,
        threshold=float(curve.thresholds[at]),
        false_match=_rate(evidence.band, at, evidence.errors[at], evidence.trials, evidence.independent),
        miss=_miss(calibration, target, at),
        review=None if curve.review is None else float(curve.review[at]),
        supported=supported,
        measured=evidence.measured,
        why=why,
    )


def _miss(calibration: Calibration, target: Target, at: int) -> Rate | None:
    scores, curve = calibration.scores, calibration.curve
    if curve.fnmr is None or curve.fnir_decided is None:
        return None
    if target.kind == "1:1":
        trials = len(scores.genuine)
        return _rate(curve.fnmr, at, curve.fnmr.value[at] * trials, trials, scores.people_with_several)
    known = scores.open_set.person[~np.isnan(scores.open_set.own)]
    band, trials = curve.fnir_decided, len(known)
    return _rate(band, at, band.value[at] * trials, trials, len(np.unique(known)))


def _rate(band: Band, at: int, errors: float, trials: int, independent: int) -> Rate:
    interval = Interval(float(band.low[at]), float(band.high[at]))
    return Rate(float(band.value[at]), interval, round(errors), trials, independent)


def _kept(target: Target, people: int, evidence: _Evidence, at: int) -> str:
    high = float(evidence.band.high[at])
    errors, trials = round(evidence.errors[at]), evidence.trials
    sure = f"With 95% confidence the rate is at most {one_in(high)}."
    if not evidence.measured:
        return (
            f"Worked out for {people:,} people from {errors:,} false matches in {trials:,} comparisons of "
            f"{evidence.independent:,} {evidence.unit}. {sure}"
        )
    what = "impostor comparisons" if target.kind == "1:1" else "searches with strangers"
    return f"Measured: {errors:,} false matches in {trials:,} {what}. {sure}"


def _unsupported(target: Target, people: int, evidence: _Evidence, _at: int) -> str:
    could_be = f"as high as {one_in(evidence.smallest)}"
    if evidence.smallest >= NO_CLAIM:
        could_be = "almost anything"
    among = f" in a gallery of {people:,} people" if not evidence.measured else ""
    return (
        f"{one_in(target.rate)} cannot be shown with {evidence.independent:,} {evidence.unit}: even without "
        f"a single false match among them, the true rate{among} could be {could_be}. About "
        f"{_needed(target, people, measured=evidence.measured)} would be needed."
    )
