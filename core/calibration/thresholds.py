"""The thresholds of a curve, and which of them scores reach.

A score reaches a threshold exactly when Robi's decision rule says so (`core.domain.decisions.Rule`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.calibration.model import Floats, Scores
from core.domain.decisions import TOLERANCE
from core.domain.statistics import Rates

STEP = 0.001  # between thresholds: as finely as they are set

Bins = NDArray[np.int64]


def thresholds_for(scores: Scores) -> Rates:
    """Equal steps of three decimals over 0..1, from one that every score reaches to one that none does."""
    every = np.concatenate([scores.genuine, scores.impostor, scores.open_set.best])
    low, high = min(0.0, float(every.min())), max(1.0, float(every.max()))
    first, last = np.floor(low / STEP), np.floor((high + TOLERANCE) / STEP) + 1
    return np.round(np.arange(first, last + 1) * STEP, 3)


def binned(scores: Floats, thresholds: Rates) -> Bins:
    """How many of the thresholds each score reaches; NaN and -inf reach none."""
    reached = np.searchsorted(thresholds - TOLERANCE, scores.astype(np.float64), side="right")
    return np.where(np.isnan(scores), 0, reached)


def reaching(bins: Bins, count: int, weights: NDArray[np.float64] | None = None) -> Rates:
    """How many scores (or how much weight) reach each of `count` thresholds."""
    per_bin = np.bincount(bins, weights=weights, minlength=count + 1)
    return np.cumsum(per_bin[::-1])[::-1][1:].astype(np.float64)
