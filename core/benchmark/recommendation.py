"""Which of the measured settings to recommend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.benchmark.model import Estimate, Gain, Measurement, Setting
from core.benchmark.statistics import gain
from core.domain.search import Strategy

AS_FULL = 0.05  # how far the cache may be from a measured coverage and still count as that one


@dataclass(frozen=True, slots=True, eq=False)
class Advice:
    """What to use. `equals` are the others that the sample does not show to be slower or to find fewer."""

    row: Measurement
    equals: tuple[Measurement, ...]


def quality(row: Measurement) -> Estimate | None:
    """What a setting is judged by: recall@1, or where the oracle knows none of the probes, the agreement."""
    return row.recall_at_1 or row.agreement


def attainable(setting: Setting, coverage: float) -> bool:
    """Whether the cache, which holds `coverage` of the gallery, is as full as it was when measured."""
    return setting.strategy is Strategy.QDRANT_ONLY or abs(setting.coverage - coverage) <= AS_FULL


def recommended(rows: Sequence[Measurement], live: Measurement | None, coverage: float) -> Advice | None:
    """Of the settings that no other is shown to find more than, the fastest.

    Where several cannot be told apart by their intervals, chance does not choose: the one in use (`live`)
    stays, or else it is the one that finds most, then the one that takes least memory. Rows whose cache is as
    full as the one in use go first: a tuning does not change how full it is.
    """
    known = [row for row in rows if row.p95 and quality(row)]
    known = [row for row in known if attainable(row.setting, coverage)] or known
    if not known:
        return None
    best = max(known, key=_found)
    good = [row for row in known if not finds_fewer(row, best)]
    fastest = min(good, key=_p95)
    alike = [row for row in good if not slower(row, fastest)]
    row = next((one for one in alike if one is live), None) or min(alike, key=_preference)
    return Advice(row, tuple(one for one in alike if one is not row))


def finds_fewer(row: Measurement, than: Measurement) -> bool:
    """Whether the sample shows that it finds fewer people."""
    return _shown(gain(quality(than), quality(row), "fewer", "more"), "fewer")


def slower(row: Measurement, than: Measurement) -> bool:
    """Whether the sample shows that its p95 is higher."""
    return _shown(gain(than.p95, row.p95, "faster", "slower"), "slower")


def _shown(found: Gain | None, word: str) -> bool:
    return found is not None and found.word == word


def _preference(row: Measurement) -> tuple[float, int, float]:
    return -_found(row), row.memory_bytes, _p95(row)


def _found(row: Measurement) -> float:
    found = quality(row)
    return found.value if found else 0.0


def _p95(row: Measurement) -> float:
    return row.p95.value if row.p95 else float("inf")
