"""How sure a measured latency, share or rate is, and whether two of them differ. Intervals are of 95 %."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from core.benchmark.model import Ecdf, Estimate, Gain
from core.domain.statistics import wilson

TAIL = 0.025  # outside the interval, on either side
ECDF_POINTS = 400  # a curve as wide as a screen shows no more
ECDF_TAIL = 100  # of the slowest searches each is a point: what p99 looks like is in them

NO_DIFFERENCE = "no difference shown"


def percentile(ms: Sequence[float], q: float) -> Estimate | None:
    """The q-th quantile, 0 < q < 1, by linear interpolation (numpy's default); None of nothing.

    The interval is between two order statistics, whatever the distribution: of n searches the number below
    the quantile is binomial (H. A. David, H. N. Nagaraja, "Order Statistics", 3rd ed., 7.1). Too few
    searches leave an end open. It takes searches for independent, which neighbours in time are not quite.
    """
    if not len(ms):
        return None
    from scipy.special import bdtr, bdtrik  # heavy to import, and only runs need it

    ordered, n = np.sort(np.asarray(ms, np.float64)), len(ms)

    def below(share: float) -> int:
        """The smallest k so that at most k searches are below the quantile with this probability."""
        k = max(0, int(np.ceil(bdtrik(share, n, q))))
        return k - 1 if k and bdtr(k - 1, n, q) >= share else k

    low, high = below(TAIL), below(1 - TAIL) + 1  # counted from 1
    return Estimate(
        float(np.quantile(ordered, q)),
        float(ordered[low - 1]) if low >= 1 else None,
        float(ordered[high - 1]) if high <= n else None,
    )


def share(hits: float, of: int) -> Estimate | None:
    """Wilson's interval; None of nothing. `hits` may be a sum of shares.

    It is too wide then, never too narrow: no values from 0 to 1 vary more than zeros and ones of that mean.
    """
    if not of:
        return None
    interval = wilson(hits, of)
    return Estimate(hits / of, interval.low, interval.high)


def share_of_probes(verdicts: Mapping[int, Sequence[float]]) -> Estimate | None:
    """The share over different probes, each by its mean: the same search again is no further evidence."""
    return share(sum(sum(each) / len(each) for each in verdicts.values()), len(verdicts))


def rate(counts: Sequence[int], seconds: Sequence[float]) -> Estimate | None:
    """Searches per second over some blocks; the interval is Student's, from how much the blocks differ."""
    total = float(np.sum(seconds))
    if not np.sum(counts) or total <= 0:
        return None
    value = float(np.sum(counts)) / total
    if len(counts) < 3:
        return Estimate(value, None, None)
    from scipy.special import stdtrit

    rates = np.asarray(counts) / np.asarray(seconds)
    half = float(stdtrit(len(rates) - 1, 1 - TAIL) * rates.std(ddof=1) / len(rates) ** 0.5)
    return Estimate(value, max(0.0, value - half), value + half)


def ecdf(ms: Sequence[float]) -> Ecdf:
    """All steps of up to ECDF_POINTS + ECDF_TAIL searches; of more, evenly spread ones and the slowest."""
    ordered, n = np.sort(np.asarray(ms, np.float64)), len(ms)
    ranks = np.arange(1, n + 1)
    if n > ECDF_POINTS + ECDF_TAIL:
        spread = np.linspace(1, n - ECDF_TAIL, ECDF_POINTS).round().astype(int)
        ranks = np.unique(np.concatenate([spread, ranks[-ECDF_TAIL:]]))
    return Ecdf(_rounded(ordered[ranks - 1], 4), _rounded(ranks / max(n, 1), 6))


def gain(a: Estimate | None, b: Estimate | None, less: str, more: str) -> Gain | None:
    """What `b` is beside `a`; `less` and `more` are the words for a difference that shows.

    The interval of the difference comes from those of the two: G. Y. Zou, A. Donner, "Construction of
    confidence limits about effect measures", Statistics in Medicine 27 (2008); for shares it is method 10 of
    R. G. Newcombe, Statistics in Medicine 17 (1998). It takes the runs for independent: with the same probes
    in both it is too wide rather than too narrow.
    """
    if a is None or b is None:
        return None
    difference = b.value - a.value
    low = _end(difference, b.value, b.low, a.value, a.high, -1)
    high = _end(difference, b.value, b.high, a.value, a.low, 1)
    word = NO_DIFFERENCE
    if high is not None and high < 0:
        word = less
    elif low is not None and low > 0:
        word = more
    return Gain(a.value, b.value, low, high, word)


def front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """The Pareto front: which points no other beats, at a lower cost and no lower value, or the reverse."""
    return [
        i
        for i, (cost, value) in enumerate(zip(costs, values, strict=True))
        if not any(
            c <= cost and v >= value and (c < cost or v > value) for c, v in zip(costs, values, strict=True)
        )
    ]


def _end(
    difference: float, b: float, b_end: float | None, a: float, a_end: float | None, sign: int
) -> float | None:
    if b_end is None or a_end is None:
        return None
    return float(difference + sign * np.hypot(b_end - b, a_end - a))


def _rounded(values: NDArray[np.float64], digits: int) -> tuple[float, ...]:
    return tuple(np.round(values, digits).tolist())
