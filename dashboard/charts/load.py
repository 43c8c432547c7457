"""Figures of the monitoring page and the overview."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

import pandas as pd

from dashboard.charts.common import GRID, NOTHING


def over_time(
    series: Mapping[str, Sequence[Any]], columns: Mapping[str, str], unit: str, local: tzinfo
) -> dict[str, Any]:
    """Lines over the last minutes. `columns` maps keys of `series` to what they are called."""
    times = [f"{datetime.fromtimestamp(t, UTC).astimezone(local):%H:%M:%S}" for t in series["t"]]
    frame = pd.DataFrame({"time": times, **{name: series[key] for key, name in columns.items()}})
    nothing = all(value is None for key in columns for value in series[key])
    return {
        "animation": False,
        **({"title": dict(NOTHING)} if nothing else {}),  # even an empty title would push the legend down
        "grid": dict(GRID),
        "legend": {"show": len(columns) > 1, "top": 0},
        "tooltip": {"trigger": "axis"},
        "dataset": {"source": frame},
        "xAxis": {
            "type": "category",
            "boundaryGap": False,
            "axisLabel": {"alignMinLabel": "left", "alignMaxLabel": "right", "hideOverlap": True},
        },
        "yAxis": {"type": "value", "min": 0, "axisLabel": {"formatter": f"{{value}}{unit}"}},
        "series": [
            {
                "type": "line",
                "name": name,
                "symbolSize": 3,  # a lone point between gaps must be seen
                "connectNulls": False,
                "encode": {"x": "time", "y": name},
                "areaStyle": {"opacity": 0.12},
            }
            for name in columns.values()
        ],
    }


def stage_bars(by_stage: Mapping[str, Mapping[str, float | None]]) -> dict[str, Any]:
    """p50 and p95 of each stage, in the order in which a frame goes through them."""
    order = [name for name in ("detect", "embed", "hot", "cold", "join", "enroll") if name in by_stage]
    called = {"hot": "cache", "cold": "Qdrant", "join": "names"}
    frame = pd.DataFrame(
        {
            "stage": [called.get(name, name) for name in order],
            "p50": [by_stage[name]["p50"] for name in order],
            "p95": [by_stage[name]["p95"] for name in order],
        }
    )
    return {
        "animation": False,
        "grid": dict(GRID),
        "legend": {"top": 0},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "dataset": {"source": frame},
        "xAxis": {"type": "category"},
        "yAxis": {"type": "value", "axisLabel": {"formatter": "{value} ms"}},
        "series": [{"type": "bar", "name": p, "encode": {"x": "stage", "y": p}} for p in ("p50", "p95")],
    }
