"""Figures of the calibration page. Colour never speaks alone: each line has its own dash as well."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
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
_PROBIT_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99)
_EDGE = 0.03  # of a probit axis, beyond its last tick: a line on the very edge is not drawn
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


def det(thresholds: Array, fmr: Array, fnmr: Array, marks: Mapping[str, float]) -> dict[str, Any]:
    """Detection error trade-off on probit axes: FNMR over FMR. `marks` names thresholds to point out.

    There must be a threshold that `both_err` at.
    """
    seen = both_err(fmr, fnmr)
    t, x, y = _thin(thresholds[seen], fmr[seen], fnmr[seen])
    frame = pd.DataFrame({"x": _probit(x), "y": _probit(y), "FMR": x, "FNMR": y, "threshold": t})
    (x_low, x_high, x_ticks), (y_low, y_high, y_ticks) = _probit_axis(x), _probit_axis(y)
    hidden = {"axisLabel": {"show": False}, "splitLine": {"show": False}, "axisTick": {"show": False}}
    return {
        "animation": False,
        "grid": {"left": 60, "right": 24, "top": 16, "bottom": 44},
        "tooltip": {"trigger": "item"},
        "dataset": {"source": frame},
        "xAxis": {
            "type": "value",
            "min": x_low,
            "max": x_high,
            "name": "FMR",
            "nameLocation": "middle",
            "nameGap": 28,
            **hidden,
        },
        "yAxis": {
            "type": "value",
            "min": y_low,
            "max": y_high,
            "name": "FNMR",
            "nameLocation": "middle",
            "nameGap": 44,
            **hidden,
        },
        "series": [
            {
                "type": "line",
                "name": "DET",
                "symbolSize": 5,
                "showSymbol": len(t) < 60,
                "encode": {"x": "x", "y": "y", "tooltip": ["FMR", "FNMR", "threshold"]},
                "markLine": {
                    "symbol": "none",
                    "silent": True,
                    "data": [
                        *({"xAxis": v, **_tick(label, "start")} for v, label in x_ticks),
                        *({"yAxis": v, **_tick(label, "start")} for v, label in y_ticks),
                    ],
                },
                "markPoint": _points(t, _probit(x), _probit(y), marks),
            }
        ],
    }


def both_err(fmr: Array, fnmr: Array) -> NDArray[np.bool_]:
    """The thresholds that make both kinds of error: only they have a place on a DET."""
    return (fmr > 0) & (fmr < 1) & (fnmr > 0) & (fnmr < 1)


def roc(
    thresholds: Array, fmr: Array, fnmr: Array, smallest: float, marks: Mapping[str, float]
) -> dict[str, Any]:
    """True match rate over FMR; the shaded part claims less than the sample supports."""
    floor = max(smallest / 10, 1e-7)
    seen = fmr >= floor
    if not seen.any():
        return _nothing("In this sample no threshold lets a false match through")
    t, x, y = _thin(thresholds[seen], fmr[seen], 1 - fnmr[seen])
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
                "markPoint": _points(t, x, y, marks),
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
    columns = _thin(thresholds[within], *(values[within] for values in lines.values()))
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


def _tick(label: str, position: str) -> dict[str, Any]:
    return {
        "label": {"formatter": label, "position": position},
        "lineStyle": {"type": "solid", "width": 1, "color": "rgba(120, 132, 154, 0.35)"},
    }


def _points(t: Array, x: Array, y: Array, marks: Mapping[str, float]) -> dict[str, Any]:
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


def _unsupported(axis: str, low: float, smallest: float) -> dict[str, Any]:
    if smallest <= low:
        return {"data": []}
    return {
        "silent": True,
        "itemStyle": {"color": QUIET, "opacity": 0.12},
        "data": [[{axis: low}, {axis: min(smallest, 1.0)}]],
    }


def _probit(rates_: Array) -> Array:
    """Quantiles of the normal distribution: on these axes normal scores make a straight line."""
    normal = NormalDist()
    return np.array([normal.inv_cdf(float(rate)) for rate in rates_])


def _probit_axis(seen: Array) -> tuple[float, float, list[tuple[float, str]]]:
    ticks = list(_PROBIT_TICKS)
    low = max([tick for tick in ticks if tick <= seen.min()], default=ticks[0])
    high = min([tick for tick in ticks if tick >= seen.max()], default=ticks[-1])
    shown = [tick for tick in ticks if low <= tick <= high]
    places = _probit(np.array(shown))
    return (
        float(places[0]) - _EDGE,
        float(places[-1]) + _EDGE,
        [(float(p), rate(t)) for p, t in zip(places, shown, strict=True)],
    )


def rate(value: float) -> str:
    """An error rate as people of the field write it: `5%`, `0.1%`, `1 in 100,000`; 100% only of all."""
    if value <= 0:
        return "0%"
    if 0.9995 <= value < 1:
        return f"{min(value * 100, 99.999):.5g}%"
    if value < 0.000_95:
        return f"1 in {round(1 / value):,}"
    return f"{value * 100:.3g}%"


def _thin(*columns: Array) -> list[Array]:
    count = len(columns[0])
    if count <= POINTS:
        return [np.asarray(column) for column in columns]
    keep = np.unique(np.linspace(0, count - 1, POINTS).round().astype(int))
    return [np.asarray(column)[keep] for column in columns]


def _nothing(text: str) -> dict[str, Any]:
    return {
        "title": {**NOTHING, "text": text},
        "xAxis": {"show": False},
        "yAxis": {"show": False},
        "series": [],
    }
