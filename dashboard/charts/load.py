"""Figures of the monitoring page: what was measured over a range, as lines and bars on one axis of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor, log10
from typing import Any

import pandas as pd

from dashboard.charts.common import GRID, NOTHING

LIMIT_COLOUR = "#d04a52"  # legible on both backgrounds

_USUAL_MS = 1.0  # always within a latency's axis

Column = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Span:
    """The points of a range: their times in seconds since 1970, and what the axis shows."""

    times: Sequence[float]
    since: float
    until: float

    @classmethod
    def of(cls, stats: Mapping[str, Any]) -> Span:
        """From the `range` and `series` of `/stats`."""
        until = stats["range"]["until"]
        return cls(stats["series"]["t"], until - stats["range"]["seconds"], until)


def lines(
    span: Span,
    columns: Mapping[str, Column],
    *,
    unit: str = "",
    highest: float | None = None,
    filled: bool = False,
) -> dict[str, Any]:
    """One line for each column, by what it is called; a gap where nothing was measured."""
    option = _figure(span, columns, unit)
    option["yAxis"] = {
        "type": "value",
        "min": 0,
        **({"max": highest} if highest is not None else {}),
        "axisLabel": {"formatter": f"{{value}}{unit}"},
    }
    option["series"] = [_line(name, column, filled=filled) for name, column in columns.items()]
    return option


def latencies(span: Span, columns: Mapping[str, Column], limits: Mapping[str, float]) -> dict[str, Any]:
    """Milliseconds on a logarithmic axis, so that half a millisecond and a limit of fifty both show."""
    option = _figure(span, columns, " ms")
    seen = [ms for column in columns.values() for ms in column if ms]
    low, high = min([_USUAL_MS, *seen]), max([*seen, *limits.values()])
    option["yAxis"] = {
        "type": "log",
        "min": 10.0 ** floor(log10(low)),
        "max": 10.0 ** max(ceil(log10(high)), floor(log10(low)) + 1),
        "axisLabel": {"formatter": "{value} ms"},
    }
    option["series"] = [_line(name, column, filled=False) for name, column in columns.items()]
    if option["series"]:
        option["series"][0]["markLine"] = _limits(limits)
    return option


def bars(span: Span, columns: Mapping[str, Column]) -> dict[str, Any]:
    """Counts on top of each other."""
    option = _figure(span, columns, "")
    option["yAxis"] = {"type": "value", "min": 0, "minInterval": 1}
    option["series"] = [
        {
            "type": "bar",
            "name": name,
            "stack": "all",
            "barMinWidth": 3,
            "encode": {"x": "time", "y": name},
        }
        for name in columns
    ]
    return option


def _figure(span: Span, columns: Mapping[str, Column], unit: str) -> dict[str, Any]:
    nothing = all(not value and value != 0 for column in columns.values() for value in column)
    times = [datetime.fromtimestamp(t, UTC) for t in span.times]
    return {
        "animation": False,
        **({"title": dict(NOTHING)} if nothing else {}),  # even an empty title would push the legend down
        "grid": dict(GRID),
        "legend": {"show": len(columns) > 1 and not nothing, "top": 0, "type": "scroll"},
        "tooltip": {"trigger": "axis", "valueFormatter": f"%.4g{unit.replace('%', '%%')}"},
        "dataset": {"source": pd.DataFrame({"time": times, **columns})},
        "xAxis": {
            "type": "time",
            "min": int(span.since * 1000),
            "max": int(span.until * 1000),
            "splitNumber": 4,
            "axisLabel": {"hideOverlap": True, "showMinLabel": False, "showMaxLabel": False},
        },
    }


def _line(name: str, column: Column, *, filled: bool) -> dict[str, Any]:
    return {
        "type": "line",
        "name": name,
        "showSymbol": _has_lone_point(column),
        "symbolSize": 4,
        "connectNulls": False,
        "encode": {"x": "time", "y": name},
        **({"areaStyle": {"opacity": 0.12}} if filled else {}),
    }


def _has_lone_point(column: Column) -> bool:
    """Whether a point has gaps on both sides, so that no line would show it."""
    padded = [None, *column, None]
    return any(
        here is not None and before is None and after is None
        for before, here, after in zip(padded, padded[1:], padded[2:], strict=False)
    )


def _limits(limits: Mapping[str, float]) -> dict[str, Any]:
    return {
        "silent": True,
        "symbol": "none",
        "lineStyle": {"type": "dashed", "color": LIMIT_COLOUR},
        "label": {"color": LIMIT_COLOUR},
        "data": [
            {"yAxis": ms, "label": {"formatter": name, "position": f"insideStart{side}"}}
            for (name, ms), side in zip(limits.items(), ("Bottom", "Top"), strict=False)
        ],
    }
