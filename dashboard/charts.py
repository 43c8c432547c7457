"""Figures as ECharts options: they keep their nodes when data changes, so live panels do not flicker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from core.benchmark import StrategyRow
from core.types import Strategy
from dashboard import words

COLOUR_INDEX: Mapping[Strategy, int] = {strategy: n for n, strategy in enumerate(Strategy)}
"""One colour a strategy: its place in the theme's categorical colours, everywhere."""

_GRID = {"left": 8, "right": 24, "top": 40, "bottom": 8, "containLabel": True}
_NOTHING = {
    "text": "Nothing measured yet",
    "left": "center",
    "top": "middle",
    "textStyle": {"fontSize": 13, "fontWeight": "normal"},
}
_SOURCE_COLOUR: Mapping[str, str] = MappingProxyType(
    {"faiss": "#c77d0a", "qdrant": "#c2407f", "both": "#7a86a0", "ledger": "#5f8f4e"}
)
"""Mid-tones that are no strategy's colour and are legible on both backgrounds."""


def over_time(
    series: Mapping[str, Sequence[Any]], columns: Mapping[str, str], unit: str, local: tzinfo
) -> dict[str, Any]:
    """Lines over the last minutes. `columns` maps keys of `series` to what they are called."""
    times = [f"{datetime.fromtimestamp(t, UTC).astimezone(local):%H:%M:%S}" for t in series["t"]]
    frame = pd.DataFrame({"time": times, **{name: series[key] for key, name in columns.items()}})
    nothing = all(value is None for key in columns for value in series[key])
    return {
        "animation": False,
        **({"title": _NOTHING} if nothing else {}),  # even an empty title would push the legend down
        "grid": _GRID,
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
        "grid": _GRID,
        "legend": {"top": 0},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "dataset": {"source": frame},
        "xAxis": {"type": "category"},
        "yAxis": {"type": "value", "axisLabel": {"formatter": "{value} ms"}},
        "series": [{"type": "bar", "name": p, "encode": {"x": "stage", "y": p}} for p in ("p50", "p95")],
    }


def distribution(rows: Sequence[StrategyRow], bins: int = 60) -> dict[str, Any]:
    """Share of searches by latency, one line a strategy, on a logarithmic axis cut at p99.5."""
    everything = np.concatenate([row.latencies_ms for row in rows])
    low, high = max(float(everything.min()), 0.01), float(np.percentile(everything, 99.5))
    edges = np.geomspace(low * 0.9, max(high, low) * 1.1, bins + 1)
    columns: dict[str, Any] = {"ms": np.round(np.sqrt(edges[:-1] * edges[1:]), 3)}
    for row in rows:
        counts, _ = np.histogram(row.latencies_ms, edges)
        columns[words.STRATEGY[row.strategy]] = np.round(counts / max(row.n, 1), 4)
    return {
        "grid": _GRID,
        "legend": {"top": 0},
        "tooltip": {"trigger": "axis"},
        "dataset": {"source": pd.DataFrame(columns)},
        "xAxis": {
            "type": "log",
            "min": float(edges[0]),
            "max": float(edges[-1]),
            "axisLabel": {"showMinLabel": False, "showMaxLabel": False, "formatter": "{value} ms"},
        },
        "yAxis": {"type": "value", "min": 0},
        "series": [
            {
                "type": "line",
                "name": words.STRATEGY[row.strategy],
                "showSymbol": False,
                "smooth": True,
                "areaStyle": {"opacity": 0.15},
                "encode": {"x": "ms", "y": words.STRATEGY[row.strategy]},
            }
            for row in sorted(rows, key=lambda row: COLOUR_INDEX[row.strategy])
        ],
    }


def source_shares(rows: Sequence[StrategyRow]) -> dict[str, Any]:
    """Where the accepted winners came from, stacked to one, for each strategy."""
    sources = sorted({source for row in rows for source in row.sources})
    called = {str(source): said for source, said in words.SOURCE.items()}
    frame = pd.DataFrame(
        {
            "strategy": [words.STRATEGY[row.strategy] for row in rows],
            **{called[s]: [round(row.sources.get(s, 0.0), 4) for row in rows] for s in sources},
        }
    )
    return {
        "color": [_SOURCE_COLOUR.get(source, "#7a86a0") for source in sources],
        "grid": _GRID,
        "legend": {"top": 0},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "dataset": {"source": frame},
        "xAxis": {"type": "value", "max": 1},
        "yAxis": {"type": "category", "inverse": True},
        "series": [
            {
                "type": "bar",
                "name": called[source],
                "stack": "all",
                "barMaxWidth": 28,
                "encode": {"x": called[source], "y": "strategy"},
            }
            for source in sources
        ],
    }
