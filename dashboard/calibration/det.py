"""The detection error trade-off: misses over false matches, on probit axes."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.calibration.charts import Array, points, thin
from dashboard.calibration.words import rate

_PROBIT_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99)
_EDGE = 0.03  # of a probit axis, beyond its last tick: a line on the very edge is not drawn


def det(thresholds: Array, fmr: Array, fnmr: Array, marks: Mapping[str, float]) -> dict[str, Any]:
    """Detection error trade-off on probit axes: FNMR over FMR. `marks` names thresholds to point out.

    At least one threshold must make both kinds of error: ask `both_err` first.
    """
    seen = both_err(fmr, fnmr)
    t, x, y = thin(thresholds[seen], fmr[seen], fnmr[seen])
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
                "markPoint": points(t, _probit(x), _probit(y), marks),
            }
        ],
    }


def both_err(fmr: Array, fnmr: Array) -> NDArray[np.bool_]:
    """The thresholds that make both kinds of error: only they have a place on a DET."""
    return (fmr > 0) & (fmr < 1) & (fnmr > 0) & (fnmr < 1)


def _tick(label: str, position: str) -> dict[str, Any]:
    return {
        "label": {"formatter": label, "position": position},
        "lineStyle": {"type": "solid", "width": 1, "color": "rgba(120, 132, 154, 0.35)"},
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
