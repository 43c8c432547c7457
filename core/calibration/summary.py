"""The single numbers of a calibration: EER, d', AUC, and what the sample is too small to say."""

from __future__ import annotations

import numpy as np

from core.calibration.curve import Replicates
from core.calibration.model import Figures, Floats, Scores, Separation
from core.domain.statistics import Interval, Rates, clopper_pearson, smallest_rate, strangers

FEW_PEOPLE = 100  # below it a single person moves a rate by more than one percent


def figures_of(scores: Scores, replicates: Replicates, *, complete: bool) -> Figures:
    """`complete`: the scores are of all there are, not of as many as could be read."""
    probes = scores.open_set
    people = len(np.unique(probes.person))
    return Figures(
        separation=_separation(scores, replicates) if scores.has_genuine else None,
        smallest_fmr=smallest_rate(scores.impostor_pairs),
        smallest_fpir=smallest_rate(strangers(people, probes.people)),
        genuine=len(scores.genuine),
        impostors=len(scores.impostor),
        warnings=tuple(_warnings(scores, people, complete=complete)),
    )


def _separation(scores: Scores, replicates: Replicates) -> Separation:
    eer, threshold = equal_error(scores.genuine, scores.impostor)
    probes = scores.open_set
    has_own = ~np.isnan(probes.own)
    return Separation(
        eer=eer,
        eer_interval=_eer_interval(eer, replicates, scores.people_with_several),
        eer_threshold=threshold,
        d_prime=d_prime(scores.genuine, scores.impostor),
        auc=area_under_roc(scores.genuine, scores.impostor),
        rank_one=float(np.mean(probes.own[has_own] >= probes.best[has_own])),
    )


def equal_error(genuine: Floats, impostor: Floats) -> tuple[float, float]:
    """The EER and the score at which FMR and FNMR are nearest; the rate is the middle between both there."""
    ordered_genuine, ordered_impostor = np.sort(genuine), np.sort(impostor)
    candidates = np.sort(np.concatenate([genuine, impostor[impostor >= ordered_genuine[0]]]))
    fnmr = np.searchsorted(ordered_genuine, candidates, side="left") / len(genuine)
    fmr = 1 - np.searchsorted(ordered_impostor, candidates, side="left") / len(impostor)
    nearest = int(np.argmin(np.abs(fmr - fnmr)))
    return float(fmr[nearest] + fnmr[nearest]) / 2, float(candidates[nearest])


def d_prime(genuine: Floats, impostor: Floats) -> float:
    """How many standard deviations the two means are apart: (m1 - m2) / sqrt((v1 + v2) / 2).

    J. Daugman, "Biometric decision landscapes", University of Cambridge technical report 482 (2000).
    0 when neither varies.
    """
    g, i = genuine.astype(np.float64), impostor.astype(np.float64)
    spread = np.sqrt((g.var() + i.var()) / 2)
    return float((g.mean() - i.mean()) / spread) if spread else 0.0


def area_under_roc(genuine: Floats, impostor: Floats) -> float:
    """The chance that a genuine score is above an impostor one; equal ones count half (Mann-Whitney)."""
    ordered = np.sort(impostor)
    below = np.searchsorted(ordered, genuine, side="left").astype(np.float64)
    not_above = np.searchsorted(ordered, genuine, side="right")
    return float((below + not_above).mean() / 2 / len(impostor))


def _eer_interval(eer: float, replicates: Replicates, people: int) -> Interval:
    """Percentiles of the bootstrap's EERs, but no narrower than the interval of a share of so many people."""
    low, high = (float(end) for end in clopper_pearson(eer * people, people))
    drawn = [_crossing(fmr, fnmr) for fmr, fnmr in zip(replicates.fmr, replicates.fnmr, strict=True)]
    found = [value for value in drawn if value is not None]
    if found:
        ends = np.percentile(found, [2.5, 97.5])
        low, high = min(low, float(ends[0])), max(high, float(ends[1]))
    return Interval(low, high)


def _crossing(fmr: Rates, fnmr: Rates) -> float | None:
    """Where the falling and the rising rate cross, linear between two thresholds; None when they do not."""
    difference = fmr - fnmr
    reached = np.flatnonzero(difference <= 0)
    if not len(reached):
        return None
    after = int(reached[0])
    before = after - 1
    if before < 0 or not np.isfinite(difference[before]):
        return None
    share = difference[before] / (difference[before] - difference[after])
    return float(fnmr[before] + share * (fnmr[after] - fnmr[before]))


def _warnings(scores: Scores, people: int, *, complete: bool) -> list[str]:
    warnings = []
    if not scores.has_genuine:
        warnings.append(
            f"How often known people are missed cannot be measured: of {scores.people:,} people, "
            f"{scores.people_with_several or 'none'} {_has(scores.people_with_several)} two photos or more. "
            "Add a second photo to some."
        )
    elif scores.people_with_several < FEW_PEOPLE:
        warnings.append(
            f"Only {scores.people_with_several} people have two photos or more: the intervals are wide."
        )
    smallest = smallest_rate(strangers(people, scores.open_set.people))
    if smallest >= 0.05:
        warnings.append(
            f"With {people} people, no false match at all would still mean a rate of up to {smallest:.0%} of "
            "strangers."
        )
    if (photos := len(scores.open_set.person)) < scores.templates:
        warnings.append(f"1:N was measured with {photos:,} photos of {people:,} people, drawn at random.")
    if not complete:
        warnings.append("The gallery is too large to be read at once: only the people active last are in it.")
    return warnings


def _has(people: int) -> str:
    return "has" if people == 1 else "have"
