"""Latencies as counts in buckets that grow by a constant ratio: small, and two of them simply add up.

That is what lets minutes become hours and percentiles of any stretch of time be told afterwards, which
percentiles themselves cannot: the mean of two 95th percentiles is nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import ceil, exp, floor, log

import numpy as np

RATIO = 1.05
ERROR = RATIO**0.5 - 1
"""How far a percentile is off at most, as a share of it: 2.5 %.

`percentiles_of` interpolates between two neighbouring values as numpy's default method does, and takes for
each of them the geometric middle of its bucket, which is at most a factor sqrt(RATIO) away. Holds from
SMALLEST_MS to LONGEST_MS; whatever is shorter counts as SMALLEST_MS.
"""
SMALLEST_MS = 0.01
LONGEST_MS = 1e6

_STEP = log(RATIO)
_PER_STEP = 1.0 / _STEP
_SCALE = 1.0 / SMALLEST_MS
_LAST = floor(log(LONGEST_MS * _SCALE) * _PER_STEP) + 1

Histogram = dict[int, int]
"""How many latencies fell into each bucket; empty buckets are absent."""

Shares = (0.5, 0.95, 0.99)


def empty() -> Histogram:
    return defaultdict(int)


def bucket_of(ms: float) -> int:
    """0 up to SMALLEST_MS; n from there times RATIO^(n - 1) to times RATIO^n."""
    if ms <= SMALLEST_MS:
        return 0
    return min(int(log(ms * _SCALE) * _PER_STEP) + 1, _LAST)


def middle_of(bucket: int) -> float:
    """The geometric middle of a bucket, in milliseconds."""
    return SMALLEST_MS * exp(_STEP * (bucket - 0.5)) if bucket else SMALLEST_MS


def add(into: Histogram, other: Mapping[int, int]) -> None:
    for bucket, count in other.items():
        into[bucket] = into.get(bucket, 0) + count


def count_of(histogram: Mapping[int, int]) -> int:
    return sum(histogram.values())


def percentiles_of(histogram: Mapping[int, int], shares: Sequence[float] = Shares) -> list[float] | None:
    """The latency in ms below which each share (0..1, ascending) lies; None of an empty histogram."""
    total = count_of(histogram)
    if not total:
        return None
    ranks = [share * (total - 1) for share in shares]
    found = _at(histogram, sorted({place for rank in ranks for place in (floor(rank), ceil(rank))}))
    return [
        found[floor(rank)] + (rank - floor(rank)) * (found[ceil(rank)] - found[floor(rank)]) for rank in ranks
    ]


def _at(histogram: Mapping[int, int], places: Iterable[int]) -> dict[int, float]:
    """The values at these ascending places, counted from 0, of all in order."""
    found: dict[int, float] = {}
    buckets = iter(sorted(histogram.items()))
    bucket, passed = next(buckets)
    for place in places:
        while place >= passed:
            bucket, count = next(buckets)
            passed += count
        found[place] = middle_of(bucket)
    return found


def to_json(histogram: Mapping[int, int]) -> list[int]:
    """`[bucket, count, bucket, count, …]`: a third of what an object takes, and read faster."""
    return [number for pair in histogram.items() for number in pair]


def from_json(numbers: Sequence[int]) -> Histogram:
    """Raises ValueError, TypeError for what `to_json` did not write."""
    histogram = empty()
    for bucket, count in zip(numbers[::2], numbers[1::2], strict=True):
        if not 0 <= bucket <= _LAST or count < 0:
            raise ValueError("no such bucket")
        histogram[int(bucket)] += int(count)
    return histogram


def percentiles(ms: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 of some milliseconds, exactly, by linear interpolation (numpy's default)."""
    p50, p95, p99 = np.percentile(ms, (50, 95, 99))
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "p99": round(float(p99), 3)}
