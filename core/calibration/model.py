"""What a calibration measures: small frozen values that the page draws and the exports hold.

A comparison is always one face against one person, whose best template counts, because that is how Robi
decides, 1:1 as well as 1:N. So a genuine score is a template against the other templates of its own person
(leave-one-out), an impostor score a template against all templates of somebody else. There is no second,
template-by-template kind of score: its false match rate would not be the one that Robi has.

Rates follow ISO/IEC 19795-1: FMR and FNMR of 1:1, FPIR and FNIR of 1:N. All are shares, 0..1; all
similarities are cosines, -1..1. Every interval is one of 95% confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.domain.decisions import Rule
from core.domain.statistics import Interval, Rates

Floats = NDArray[np.float32]
Numbers = NDArray[np.int32]

Kind = Literal["1:1", "1:N"]

EXTRAPOLATION = (
    "FPIR(N) = 1 - (1 - FMR)^N, with N people enrolled: the chance that at least one of N independent "
    "comparisons is a false match. Sources: ISO/IEC 19795-1:2021; P. Grother, M. Ngan, K. Hanaoka, Face "
    "Recognition Vendor Test Part 2: Identification, NIST IR 8271 (2019). Real people are not independent: "
    "relatives and doubles make the true rate differ, so what was measured counts more."
)
RULE_OF_THREE = (
    "When none of n independent comparisons went wrong, the true rate is at most 3/n with 95% confidence "
    "(ISO/IEC 19795-1). Comparisons of the same two people are not independent, so each pair of people "
    "counts once, also in 1:N: where everybody is searched for among the others, each pair is met twice, so "
    "all are worth half as many strangers."
)
BOOTSTRAP = (
    "Intervals are of 95% confidence. How much a rate varies comes from drawing people (not comparisons, "
    "which depend on each other) anew many times; the interval is the exact one by Clopper and Pearson for "
    "as many independent trials as vary so much, and never for more than there are people, or pairs of "
    "people (E. Korn, B. Graubard, Survey Methodology 24, 1998)."
)


@dataclass(frozen=True, slots=True)
class Rate:
    """A share: `errors` of `trials`, which came from `independent` people, or pairs of people.

    FPIR by the formula has the errors and trials of the FMR that it is made of.
    """

    value: float
    interval: Interval
    errors: int
    trials: int
    independent: int


# ---------------------------------------------------------------- scores


@dataclass(frozen=True, slots=True, eq=False)
class OpenSet:
    """1:N probes: each template searched for as if it were not enrolled.

    Arrays of one length, a probe each: `person` (ordinal), `own` (similarity to the best other template of
    its own person, NaN where there is none), `best` and `second` (the two most similar other people; NaN
    where there is no second), `best_person` and `second_person` (who they are, ordinals; any number where
    there is no second). `people` are enrolled when the probe's own person is not.
    """

    person: Numbers
    own: Floats
    best: Floats
    second: Floats
    best_person: Numbers
    second_person: Numbers
    people: int


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Similarities of one set of faces. Persons are ordinals 0..people-1, never the ledger's numbers.

    Without two people of several templates each there are no genuine scores, and nobody's `own` in the open
    set: all that speaks of misses is None then.

    `impostor` is a random sample (seeded) of `impostor_possible` comparisons, or all of them;
    `impostor_pairs` is how many different pairs of people are in it.
    """

    genuine: Floats
    genuine_person: Numbers
    impostor: Floats
    impostor_probe: Numbers
    impostor_claimed: Numbers
    impostor_possible: int
    impostor_pairs: int
    open_set: OpenSet
    people: int
    people_with_several: int  # at least two templates: only these have genuine scores
    templates: int
    seed: int

    @property
    def has_genuine(self) -> bool:
        return len(self.genuine) > 0


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """How many scores are in each bin; `edges` has one entry more than the counts."""

    edges: Rates
    genuine: NDArray[np.int64]
    impostor: NDArray[np.int64]


# ---------------------------------------------------------------- curves and figures


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """An estimate at every threshold of the curve, and its interval there."""

    value: Rates
    low: Rates
    high: Rates


@dataclass(frozen=True, slots=True, eq=False)
class Extrapolated:
    """1:N at another size, by `EXTRAPOLATION`; `people` enrolled, `factor` times as many as now (1, 10, 100).

    FNIR here: the own person is below the threshold, or one of the others is more similar.
    `smallest_fpir`: what the sample can support at this size; draw nothing below it, or draw it faint.
    """

    factor: int
    people: int
    fpir: Rates
    fnir: Rates | None
    smallest_fpir: float


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Everything against the threshold; all arrays have the length of `thresholds`, which ascend.

    The first threshold accepts every score, the last one none: ROC (fmr, 1 - fnmr) and DET (fmr, fnmr) are
    these arrays against each other.

    - `fmr`, `fnmr`: 1:1.
    - `fpir`, `fnir`: 1:N as measured at the gallery's own size, by the threshold alone (ISO): FPIR is the
      share of strangers with anybody at the threshold or above; FNIR of known people who do not come first,
      or come below the threshold.
    - `fpir_decided`, `fnir_decided`: the same with the margin to the second person that Robi asks for,
      confirmed pairs' own margins included: a stranger who is declared a `match`, a known person who is not.
    - `review`: share of known people who would be shown for review.
    - `extrapolated`: at 1, 10, 100 times the size; the first one beside `fpir` shows how far the formula
      holds.
    """

    thresholds: Rates
    fmr: Band
    fnmr: Band | None
    fpir: Band
    fnir: Band | None
    fpir_decided: Band
    fnir_decided: Band | None
    review: Rates | None
    extrapolated: tuple[Extrapolated, ...]


@dataclass(frozen=True, slots=True)
class Separation:
    """How well genuine and impostor scores keep apart. `rank_one`: share of known people who come first,
    whatever the threshold."""

    eer: float
    eer_interval: Interval
    eer_threshold: float
    d_prime: float
    auc: float
    rank_one: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The numbers above the curves; no `separation` without genuine scores.

    `smallest_fmr` and `smallest_fpir` are what this sample can support (`RULE_OF_THREE`): Robi claims nothing
    below them.
    """

    separation: Separation | None
    smallest_fmr: float
    smallest_fpir: float
    genuine: int
    impostors: int
    warnings: tuple[str, ...]  # sentences; show them beside the figures


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A whole calibration; `rule` is the one that the decided rates were made with."""

    scores: Scores
    histogram: Histogram
    curve: Curve
    figures: Figures
    rule: Rule
    pack: str
    source: str  # "gallery" or "evaluation set"
    gallery_seq: int | None  # the ledger's head when it was read; None for an evaluation set
    gallery_templates: int  # all there are; `scores.templates` were read
    made_at: datetime
    seconds: float


# ---------------------------------------------------------------- choosing a threshold


@dataclass(frozen=True, slots=True)
class Target:
    """At most `false_matches` in `probes` probes: 1:1 of impostors, 1:N of strangers."""

    false_matches: float
    probes: int
    kind: Kind

    @property
    def rate(self) -> float:
        return self.false_matches / self.probes


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """The lowest threshold that keeps the target, and what it costs.

    Thresholds are those of the curve, so every rate here is also there. When the sample cannot support the
    target, `supported` is False, `threshold` is the lowest one without any false match in the sample, and
    `why` says what would be needed. `false_match` is FMR or FPIR by the target's kind, `miss` FNMR or FNIR
    (decided, with the margin), `review` the share of known people who would be shown for review (1:N); both
    are None without genuine scores.
    """

    target: Target
    gallery_size: int  # people
    threshold: float
    false_match: Rate
    miss: Rate | None
    review: float | None
    supported: bool
    measured: bool  # False: FPIR comes from the formula, as this is not the gallery's own size
    why: str
