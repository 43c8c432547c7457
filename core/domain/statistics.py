"""How sure a measured rate is. All intervals are of 95% confidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
REPLICATES = 200  # of the bootstrap; a standard deviation is then known to about 5%
_Z = 1.959963984540054  # of the normal distribution at 97.5%

Rates = NDArray[np.float64]
"""Shares, 0..1."""


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


def wilson(errors: float, trials: float) -> Interval:
    """The score interval of E. B. Wilson, "Probable inference", JASA 22 (1927)."""
    if not trials:
        return Interval(0.0, 1.0)
    share, square = errors / trials, _Z**2 / trials
    middle = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * (share * (1 - share) / trials + square / trials / 4) ** 0.5
    low = max(0.0, middle - half) if errors else 0.0  # which rounding would miss by a hair
    high = min(1.0, middle + half) if errors < trials else 1.0
    return Interval(low, high)


def clopper_pearson(errors: ArrayLike, trials: ArrayLike) -> tuple[Rates, Rates]:
    """The exact interval's low and high ends, elementwise; both arguments may be fractions.

    C. J. Clopper, E. S. Pearson, Biometrika 26 (1934), by quantiles of the beta distribution.
    """
    from scipy.special import betaincinv  # heavy to import, and only calibrations need it

    k, n = np.broadcast_arrays(np.asarray(errors, np.float64), np.asarray(trials, np.float64))
    tail = (1 - CONFIDENCE) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(k > 0, betaincinv(k, n - k + 1, tail), 0.0)
        high = np.where(k < n, betaincinv(k + 1, n - k, 1 - tail), 1.0)
    return low, high


def strangers(probing: int, others: int) -> float:
    """How many independent strangers so many people are, each searched for among so many others.

    Two people who are searched for in turn are compared twice: at one photo each, one false match makes two.
    So it is the different pairs that were compared, divided by the others: half as many strangers as people
    when everybody is searched for, nearly as many when few of many are.
    """
    return probing * (1 - (probing - 1) / (2 * others))


def smallest_rate(independent: float) -> float:
    """The smallest rate that so many independent trials can support: the rule of three, 3/n, at most 1."""
    return min(1.0, 3 / independent) if independent > 0 else 1.0


def trials_for(rate: float) -> int:
    """How many independent trials a claim of `rate` takes by the rule of three."""
    return int(np.ceil(3 / rate))


def drawn_anew(people: int, seed: int, replicates: int = REPLICATES) -> Iterator[NDArray[np.float64]]:
    """The bootstrap over people: how often each is in a sample of as many, drawn with replacement.

    R. M. Bolle, N. K. Ratha, S. Pankanti, "Error analysis of pattern recognition systems: the subsets
    bootstrap", Computer Vision and Image Understanding 93 (2004).
    """
    rng = np.random.default_rng((seed, people))
    for _ in range(replicates):
        yield np.bincount(rng.integers(0, people, people), minlength=people).astype(np.float64)


def spread(replicates: NDArray[np.float64]) -> Rates:
    """The variance between replicates, (replicates, rates), of which NaN do not count; NaN without any."""
    seen = np.isfinite(replicates)
    with np.errstate(invalid="ignore"):
        mean = np.where(seen, replicates, 0.0).sum(axis=0) / seen.sum(axis=0)
        squares = np.where(seen, replicates - mean, 0.0) ** 2
        variance: Rates = squares.sum(axis=0) / seen.sum(axis=0)
    return variance


def band(value: Rates, variance: Rates, independent: float) -> tuple[Rates, Rates]:
    """The interval of each rate, from how much it varies.

    As many independent trials as would vary so much are put into the exact interval (E. L. Korn,
    B. I. Graubard, "Confidence intervals for proportions with small expected number of positive counts",
    Survey Methodology 24, 1998); never more than the `independent` people or pairs there are, so that no
    errors at all give no false certainty.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.where(variance > 0, value * (1 - value) / variance, np.inf)
    effective = np.clip(effective, 1.0, max(1, independent))
    return clopper_pearson(value * effective, effective)
