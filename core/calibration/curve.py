"""Error rates against the threshold, with their intervals, and what they become in a larger gallery."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.calibration.model import Band, Curve, Extrapolated, Scores
from core.calibration.probes import Probes
from core.calibration.progress import Step, nothing
from core.calibration.thresholds import Bins, binned, reaching, thresholds_for
from core.domain.decisions import Rule
from core.domain.statistics import REPLICATES, Rates, band, drawn_anew, smallest_rate, spread

FACTORS = (1, 10, 100)
_DRAWN_BELOW = 0.1  # FMR up to which intervals are drawn anew: nobody sets a threshold where it is higher


@dataclass(frozen=True, slots=True, eq=False)
class Replicates:
    """FMR and FNMR of the bootstrap samples, (samples, thresholds); FMR is NaN where it is not drawn, FNMR
    everywhere without genuine scores."""

    fmr: Rates
    fnmr: Rates


def extrapolate(fmr: Rates | float, people: int) -> Rates:
    """FPIR among `people`: 1 - (1 - FMR)^people (see `model.EXTRAPOLATION`), exact for tiny rates too."""
    with np.errstate(divide="ignore"):
        fpir: Rates = -np.expm1(people * np.log1p(-np.asarray(fmr, np.float64)))
    return fpir


def curve_of(scores: Scores, rule: Rule, step: Step = nothing) -> tuple[Curve, Replicates]:
    """The whole curve, and the bootstrap samples behind its 1:1 bands.

    The look-alikes of `rule` are pairs of the scores' own ordinals.
    """
    thresholds = thresholds_for(scores)
    count = len(thresholds)
    genuine, impostor = binned(scores.genuine, thresholds), binned(scores.impostor, thresholds)
    fmr = reaching(impostor, count) / len(impostor)
    fnmr = 1 - reaching(genuine, count) / len(genuine) if scores.has_genuine else None
    replicates = _replicates(scores, fmr, fnmr, genuine, impostor, step)
    probes = Probes.of(scores, rule, thresholds)
    curve = Curve(
        thresholds=thresholds,
        fmr=Band(fmr, *band(fmr, _throughout(fmr, spread(replicates.fmr)), scores.impostor_pairs)),
        fnmr=None
        if fnmr is None
        else Band(fnmr, *band(fnmr, spread(replicates.fnmr), scores.people_with_several)),
        fpir=probes.strangers(scores.open_set.best),
        fnir=probes.known(probes.first),
        fpir_decided=probes.strangers(probes.stranger_matched),
        fnir_decided=probes.known(probes.known_matched),
        review=probes.review(),
        extrapolated=tuple(_extrapolated(scores, thresholds, fmr, factor) for factor in FACTORS),
    )
    return curve, replicates


def _replicates(
    scores: Scores, fmr: Rates, fnmr: Rates | None, genuine: Bins, impostor: Bins, step: Step
) -> Replicates:
    """A bootstrap over people: a comparison's weight is how often one was drawn times how often the other."""
    count = len(fmr)
    crossing = 0.0 if fnmr is None else float(np.min(np.maximum(fmr, fnmr)))
    drawn = fmr <= max(_DRAWN_BELOW, 4 * crossing)
    tail = np.flatnonzero(impostor > np.argmax(drawn))  # FMR falls: all thresholds from there on
    bins, probe, claimed = impostor[tail], scores.impostor_probe[tail], scores.impostor_claimed[tail]
    probes = np.bincount(scores.impostor_probe, minlength=scores.people)
    of_impostors, of_genuine = [], []
    for number, weights in enumerate(drawn_anew(scores.people, scores.seed)):
        step(number / REPLICATES)
        total = (probes * weights * (weights.sum() - weights)).sum() / (scores.people - 1)
        own = weights[scores.genuine_person]
        with np.errstate(
            invalid="ignore", divide="ignore"
        ):  # NaN where none of the people compared was drawn
            of_impostors.append(reaching(bins, count, weights[probe] * weights[claimed]) / total)
            of_genuine.append(1 - reaching(genuine, count, own) / own.sum())
    step(1.0)
    return Replicates(np.where(drawn, of_impostors, np.nan), np.array(of_genuine))


def _throughout(value: Rates, variance: Rates) -> Rates:
    """The variance at every threshold: where none was drawn, for as many trials as at the first that was."""
    first = int(np.argmax(np.isfinite(variance)))
    square = value[first] * (1 - value[first])
    if not square:
        return variance
    return np.where(np.isfinite(variance), variance, value * (1 - value) * variance[first] / square)


def _extrapolated(scores: Scores, thresholds: Rates, fmr: Rates, factor: int) -> Extrapolated:
    people = scores.people * factor
    return Extrapolated(
        factor=factor,
        people=people,
        fpir=extrapolate(fmr, people),
        fnir=_missed(scores, thresholds, people) if scores.has_genuine else None,
        smallest_fpir=float(extrapolate(smallest_rate(scores.impostor_pairs), people)),
    )


def _missed(scores: Scores, thresholds: Rates, people: int) -> Rates:
    """FNIR: a known person is found when all the others, independently of each other, are less similar."""
    ordered = np.sort(scores.impostor)
    beaten = 1 - np.searchsorted(ordered, scores.genuine, side="right") / len(ordered)
    comes_first = 1 - extrapolate(beaten, people - 1)
    found = reaching(binned(scores.genuine, thresholds), len(thresholds), comes_first)
    return 1 - found / len(scores.genuine)
