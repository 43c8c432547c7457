"""Figures of the monitoring page: what was measured over a range, as lines and bars on one axis of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor, log10
from typing import Any

import pandas as pd

from core.metrics.figures import Column
from core.metrics.ranges import RangeFigures
from dashboard.shared.charts import GRID, NOTHING

LIMIT_COLOUR = "#d04a52"  # legible on both backgrounds

UNANSWERED = "searches without an answer"
_PHONE_PX, _LEGEND_ROW_PX = 320, 22
_NAME_PX, _LETTER_PX = 27, 5.5  # of a name in a legend: its mark with the gap, and each letter
_USUAL_MS = 1.0  # always within a latency's axis


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """The points of a range: their times in seconds since 1970, and what the axis shows."""

    times: Sequence[float]
    since: float
    until: float

    @classmethod
    def of(cls, measured: RangeFigures) -> TimeSpan:
        until = measured.range.until
        return cls(measured.series.t, until - measured.range.seconds, until)


def lines(
    span: TimeSpan,
    columns: Mapping[str, Column],
    *,
    unit: str = "",
    highest: float | None = None,
    filled: bool = False,
    whole: bool = False,
    alike: bool = False,
) -> dict[str, Any]:
    """One line for each column, by what it is called; a gap where nothing was measured.

    `whole`: counts. `alike`: columns that are often equal, none of which may hide another.
    """
    option = _figure(span, columns, unit)
    option["yAxis"] = {
        "type": "value",
        "min": 0,
        **({"max": highest} if highest is not None else {}),
        **({"minInterval": 1} if whole else {}),
        "axisLabel": {"formatter": f"{{value}}{unit}"},
    }
    option["series"] = [_line(span, name, column, filled=filled) for name, column in columns.items()]
    if alike:
        for line in option["series"][1:]:
            line["lineStyle"]["type"] = [4, 4]  # shows what lies below
    return option


def latencies(span: TimeSpan, columns: Mapping[str, Column], limits: Mapping[str, float]) -> dict[str, Any]:
    """Milliseconds on a logarithmic axis, so that half a millisecond and a limit of fifty both show."""
    option = _figure(span, columns, " ms")
    seen = [ms for column in columns.values() for ms in column if ms]
    low, high = min([_USUAL_MS, *seen]), max([_USUAL_MS, *seen, *limits.values()])
    option["yAxis"] = {
        "type": "log",
        "min": 10.0 ** floor(log10(low)),
        "max": 10.0 ** max(ceil(log10(high)), floor(log10(low)) + 1),
        "axisLabel": {"formatter": "{value} ms"},
    }
    option["series"] = [_line(span, name, column) for name, column in columns.items()]
    if option["series"] and limits:
        option["series"][0]["markLine"] = _limits(limits)
    return option


def errors(span: TimeSpan, by_code: Mapping[str, Column], unanswered: Column) -> dict[str, Any]:
    """Rates by code on top of each other; as a line the searches without an answer, which are among them."""
    some = any(count for column in (*by_code.values(), unanswered) for count in column)
    columns = {**by_code, UNANSWERED: unanswered if some else [None] * len(unanswered)}
    option = _figure(span, columns, "", nothing="No errors")
    option["yAxis"] = {"type": "value", "min": 0}
    option["series"] = [
        {
            "type": "bar",
            "name": name,
            "stack": "all",
            "barMinWidth": 3,
            "encode": {"x": "time", "y": name},
        }
        for name in by_code
    ]
    unanswered_line = _line(span, UNANSWERED, unanswered)
    unanswered_line |= {
        "itemStyle": {"color": LIMIT_COLOUR},
        "lineStyle": {"color": LIMIT_COLOUR, "width": 2},
    }
    option["series"].append(unanswered_line)
    return option


def _figure(
    span: TimeSpan, columns: Mapping[str, Column], unit: str, nothing: str = "Nothing measured"
) -> dict[str, Any]:
    is_empty = all(not value and value != 0 for column in columns.values() for value in column)
    times = [datetime.fromtimestamp(t, UTC) for t in span.times]
    return {
        "animation": False,
        # even an empty title would push the legend down
        **({"title": {**NOTHING, "text": nothing}} if is_empty else {}),
        "grid": {**GRID, "top": _LEGEND_ROW_PX * _legend_rows(columns) + 16},
        "legend": {
            "show": len(columns) > 1 and not is_empty,
            "top": 0,
            "icon": "roundRect",
            "itemWidth": 12,
            "itemHeight": 6,
            "itemGap": 10,
        },
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


def _legend_rows(names: Iterable[str]) -> int:
    """On a phone; a legend wraps, and must not lie on the figure."""
    return max(1, ceil(sum(_NAME_PX + _LETTER_PX * len(name) for name in names) / _PHONE_PX))


def _line(span: TimeSpan, name: str, column: Column, *, filled: bool = False) -> dict[str, Any]:
    return {
        "type": "line",
        "name": name,
        "showSymbol": False,
        "connectNulls": False,
        "lineStyle": {"width": 2},
        "encode": {"x": "time", "y": name},
        "markPoint": _lone_points(span, column),
        **({"areaStyle": {"opacity": 0.12}} if filled else {}),
    }


def _lone_points(span: TimeSpan, column: Column) -> dict[str, Any]:
    """A dot for each point with gaps on both sides, which no line would show."""
    padded = [None, *column, None]
    around = zip(span.times, padded, padded[1:], padded[2:], strict=False)
    return {
        "silent": True,
        "symbol": "circle",
        "symbolSize": 5,
        "label": {"show": False},
        "data": [
            {"coord": [int(time * 1000), here]}
            for time, before, here, after in around
            if here is not None and before is None and after is None
        ],
    }


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
