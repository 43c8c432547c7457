"""Figures of the strategies page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from core.benchmark import StrategyRow
from dashboard import words
from dashboard.charts.common import COLOUR_INDEX, GRID, SOURCE_COLOUR


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
        "grid": dict(GRID),
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
        "color": [SOURCE_COLOUR.get(source, "#7a86a0") for source in sources],
        "grid": dict(GRID),
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
