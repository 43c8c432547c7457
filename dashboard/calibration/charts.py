"""Figures of the calibration page. Colour never speaks alone: each line has its own dash as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.calibration.model import Histogram
from dashboard.shared.charts import GRID, NOTHING

Array = NDArray[np.floating[Any]]

POINTS = 400  # of a curve: more than a screen has pixels to tell apart
MARK = "#8a6d1d"  # mid-tones that keep 3:1 on both backgrounds
QUIET = "#78849a"
_DASHES = ("solid", "dashed", "dotted")


def similarities(
    histogram: Histogram, in_effect: float, candidate: float, span: tuple[float, float]
) -> dict[str, Any]:
    """Both kinds of comparison over `span`, each as shares of its own kind."""
    middles = (histogram.edges[:-1] + histogram.edges[1:]) / 2
    within = (middles >= span[0]) & (middles <= span[1])
    kinds = {"same person": histogram.genuine, "different people": histogram.impostor}
    drawn = {name: _shares(counts)[within] for name, counts in kinds.items() if counts.any()}
    frame = pd.DataFrame({"similarity": np.round(middles, 4)[within], **drawn})
    marks = {f"in effect {in_effect:.3f}": in_effect}
    if round(candidate, 3) != round(in_effect, 3):
        marks[f"new {candidate:.3f}"] = candidate
    return {
        "animation": False,
        "grid": {**GRID, "left": 6, "right": 6, "containLabel": False, "bottom": 28},
        "legend": {"top": 0},
        "tooltip": {"trigger": "axis", "valueFormatter": "percent"},
        "dataset": {"source": frame},
        "xAxis": {
            "type": "value",
            "min": span[0],
            "max": span[1],
            "interval": 0.1,
            "axisLabel": {"alignMinLabel": "left", "alignMaxLabel": "right"},
        },
        "yAxis": {"type": "value", "show": False},
        "series": [
            {
                "type": "line",
                "name": name,
                "step": "middle",
                "showSymbol": False,
                "lineStyle": {"type": dash, "width": 2},
                "areaStyle": {"opacity": 0.22},
                "encode": {"x": "similarity", "y": name, "tooltip": [name]},
                **({"markLine": _lines(marks)} if name == next(iter(drawn)) else {}),
            }
            for name, dash in (("same person", "solid"), ("different people", "dashed"))
            if name in drawn
        ],
    }


def roc(
    thresholds: Array, fmr: Array, fnmr: Array, smallest: float, marks: Mapping[str, float]
) -> dict[str, Any]:
    """True match rate over FMR; the shaded part claims less than the sample supports."""
    floor = max(smallest / 10, 1e-7)
    seen = fmr >= floor
    if not seen.any():
        return _nothing("In this sample no threshold lets a false match through")
    t, x, y = thin(thresholds[seen], fmr[seen], 1 - fnmr[seen])
    frame = pd.DataFrame({"FMR": x, "true matches": y, "threshold": t})
    return {
        "animation": False,
        "grid": {**GRID, "top": 16, "bottom": 28},
        "tooltip": {"trigger": "axis"},
        "dataset": {"source": frame},
        "xAxis": {
            "type": "log",
            "min": floor,
            "max": 1,
            "name": "FMR",
            "nameLocation": "middle",
            "nameGap": 26,
        },
        "yAxis": {"type": "value", "max": 1, "scale": True},
        "series": [
            {
                "type": "line",
                "name": "ROC",
                "step": "end",
                "showSymbol": False,
                "encode": {"x": "FMR", "y": "true matches", "tooltip": ["true matches", "threshold"]},
                "markArea": _unsupported("xAxis", floor, smallest),
                "markPoint": points(t, x, y, marks),
            }
        ],
    }


def rates(
    thresholds: Array, lines: Mapping[str, Array], marks: Mapping[str, float], smallest: float
) -> dict[str, Any]:
    """Error rates against the threshold on a logarithmic axis; a rate of zero cannot be drawn there.

    `lines` maps names to rates; each gets its own dash, in order. Rates below `smallest` are shaded.
    """
    within = (thresholds >= 0) & (thresholds <= 1)
    if not any((values[within] > 0).any() for values in lines.values()):
        return _nothing("In this sample no threshold makes such an error")
    columns = thin(thresholds[within], *(values[within] for values in lines.values()))
    positive = [float(values[values > 0].min()) for values in columns[1:] if (values > 0).any()]
    floor = 10.0 ** np.floor(np.log10(max(min([*positive, 0.1]), 1e-7)))
    data = {
        name: np.where(values > 0, values, np.nan) for name, values in zip(lines, columns[1:], strict=True)
    }
    return {
        "animation": False,
        "grid": {**GRID, "bottom": 28},
        "legend": {"top": 0},
        "tooltip": {"trigger": "axis"},
        "dataset": {"source": pd.DataFrame({"threshold": columns[0], **data})},
        "xAxis": {
            "type": "value",
            "min": 0,
            "max": 1,
            "name": "threshold",
            "nameLocation": "middle",
            "nameGap": 26,
        },
        "yAxis": {"type": "log", "min": float(floor), "max": 1},
        "series": [
            {
                "type": "line",
                "name": name,
                "showSymbol": False,
                "connectNulls": False,
                "lineStyle": {"type": _DASHES[n % 3], "width": 2},
                "encode": {"x": "threshold", "y": name},
                **(
                    {
                        "markLine": _lines(marks),
                        "markArea": _unsupported("yAxis", float(floor), smallest),
                    }
                    if n == 0
                    else {}
                ),
            }
            for n, name in enumerate(lines)
        ],
    }


# ---------------------------------------------------------------- parts


def points(t: Array, x: Array, y: Array, marks: Mapping[str, float]) -> dict[str, Any]:
    """One symbol for each named threshold, where the curve passes it; none where it ended before."""
    symbols = ("circle", "diamond")
    passed = {name: value for name, value in marks.items() if t.min() <= value <= t.max()}
    at = {name: int(np.argmin(np.abs(t - value))) for name, value in passed.items()}
    return {
        "silent": True,
        "data": [
            {
                "coord": [float(x[index]), float(y[index])],
                "symbol": symbols[n % 2],
                "symbolSize": 12,
                "itemStyle": {"color": MARK},
                "label": {"formatter": name, "position": "bottom" if n == 0 else "left"},
            }
            for n, (name, index) in enumerate(at.items())
        ],
    }


def thin(*columns: Array) -> list[Array]:
    """Columns of equal length, cut to `POINTS` rows that are evenly spread, the ends among them."""
    count = len(columns[0])
    if count <= POINTS:
        return [np.asarray(column) for column in columns]
    keep = np.unique(np.linspace(0, count - 1, POINTS).round().astype(int))
    return [np.asarray(column)[keep] for column in columns]


def _shares(counts: NDArray[np.int64]) -> Array:
    shares: Array = np.round(counts / max(int(counts.sum()), 1), 6)
    return shares


def _lines(marks: Mapping[str, float]) -> dict[str, Any]:
    """An upright line for each named threshold; two names stand away from each other."""
    lowest = min(marks.values())
    return {
        "symbol": "none",
        "silent": True,
        "data": [
            {
                "xAxis": at,
                "label": {
                    "formatter": name,
                    "position": "end",
                    "align": "right" if at == lowest and len(marks) > 1 else "left",
                },
                "lineStyle": {"type": _DASHES[n % len(_DASHES)], "width": 2, "color": MARK},
            }
            for n, (name, at) in enumerate(marks.items())
        ],
    }


def _unsupported(axis: str, low: float, smallest: float) -> dict[str, Any]:
    if smallest <= low:
        return {"data": []}
    return {
        "silent": True,
        "itemStyle": {"color": QUIET, "opacity": 0.12},
        "data": [[{axis: low}, {axis: min(smallest, 1.0)}]],
    }


def _nothing(text: str) -> dict[str, Any]:
    return {
        "title": {**NOTHING, "text": text},
        "xAxis": {"show": False},
        "yAxis": {"show": False},
        "series": [],
    }
