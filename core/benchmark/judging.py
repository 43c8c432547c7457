"""Which of the measured settings to recommend."""

from __future__ import annotations

from collections.abc import Sequence

from core.benchmark.model import Estimate, Measured, Setting
from core.types import Strategy

AS_FULL = 0.05  # how far the cache may be from a measured coverage and still count as that one


def quality(row: Measured) -> Estimate | None:
    """What a setting is judged by: recall@1, or where the oracle knows none of the probes, the agreement."""
    return row.recall_at_1 or row.agreement


def attainable(setting: Setting, coverage: float) -> bool:
    """Whether the cache, which holds `coverage` of the gallery, is as full as it was when measured."""
    return setting.strategy is Strategy.QDRANT_ONLY or abs(setting.coverage - coverage) <= AS_FULL


def quickest(rows: Sequence[Measured], coverage: float) -> Measured | None:
    """The row with the lowest p95 of those that find as many people as the best, as far as the sample tells.

    Rows whose cache is as full as the one in use go first: a tuning does not change how full it is.
    """
    known = [(row, row.p95.value, found) for row in rows if row.p95 and (found := quality(row))]
    known = [one for one in known if attainable(one[0].setting, coverage)] or known
    if not known:
        return None
    best = max((found for _, _, found in known), key=lambda found: found.value)
    least = best.value if best.low is None else best.low
    return min((one for one in known if one[2].value >= least), key=lambda one: one[1])[0]
