"""Figures of the strategies page, apart from its picture and the timeline of one photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from core.benchmark.model import Measurement, Traced
from core.domain.search import Strategy
from dashboard.shared import words
from dashboard.shared.charts import GRID, NOTHING, SOURCE_COLOUR
from dashboard.strategies.chart_picture import SHAPE, log_axis
from dashboard.strategies.words import STAGE

# Mid-tones of the theme's first three colours: several lines of one strategy share one, on both backgrounds.
STRATEGY_COLOUR: Mapping[Strategy, str] = MappingProxyType(
    {Strategy.HYBRID: "#3f7fef", Strategy.FAISS_FIRST: "#0e9a94", Strategy.QDRANT_ONLY: "#9a62f5"}
)
STAGE_COLOUR: Mapping[str, str] = MappingProxyType(
    {
        "detect": "#6f8fa8",
        "embed": "#a8774f",
        "hot": SOURCE_COLOUR["faiss"],
        "cold": SOURCE_COLOUR["qdrant"],
        "merge": SOURCE_COLOUR["both"],
        "join": SOURCE_COLOUR["ledger"],
    }
)
_DASH = ("solid", "dashed", "dotted")


def ecdf(rows: Sequence[Measurement], names: Sequence[str]) -> dict[str, Any]:
    """The share of searches answered within a time, on a logarithmic axis, one line for each row."""
    drawn = [(row, name) for row, name in zip(rows, names, strict=True) if row.latency.ms]
    if not drawn:
        return {"title": dict(NOTHING)}
    left = min(row.latency.ms[0] for row, _ in drawn) * 0.9
    right = max(row.latency.ms[-1] for row, _ in drawn) * 1.1
    return {
        "animation": False,
        **_legend([name for _, name in drawn]),
        "tooltip": {"trigger": "item"},
        "xAxis": log_axis(left, right, "ms (log scale)"),
        "yAxis": {"type": "value", "min": 0, "max": 1, "name": "share", "nameTextStyle": {"align": "left"}},
        "dataset": [
            {"source": pd.DataFrame({"ms": row.latency.ms, "share": row.latency.share})} for row, _ in drawn
        ],
        "series": [
            {
                **_line(row.setting.strategy, name, _dash(drawn, n)),
                "datasetIndex": n,
                "step": "end",
                "symbol": "none",
                "encode": {"x": "ms", "y": "share"},
            }
            for n, (row, name) in enumerate(drawn)
        ],
    }


def throughput(rows: Mapping[str, Sequence[Measurement]]) -> dict[str, Any]:
    """Searches a second against clients at once; `rows` by what their setting is called."""
    clients = sorted({row.concurrency for measured in rows.values() for row in measured})
    lines = [(measured[0], name) for name, measured in rows.items() if measured]
    return {
        "animation": False,
        **_legend([name for _, name in lines]),
        "tooltip": {"trigger": "axis", "valueFormatter": "%,.0f"},
        "xAxis": {
            "type": "category",
            "data": [str(number) for number in clients],
            "name": "clients at once",
            "nameLocation": "middle",
            "nameGap": 28,
        },
        "yAxis": {"type": "value", "min": 0, "name": "searches/s", "nameTextStyle": {"align": "left"}},
        "series": [
            {
                **_line(first.setting.strategy, name, _dash(lines, n)),
                "symbol": SHAPE[first.setting.strategy],
                "symbolSize": 9,
                "data": [_rate(rows[name], number) for number in clients],
            }
            for n, (first, name) in enumerate(lines)
        ],
    }


def stages(rows: Sequence[Measurement], names: Sequence[str]) -> dict[str, Any]:
    """Mean milliseconds of each stage, stacked, one bar for each row."""
    present = [stage for stage in STAGE if any(stage in row.stages for row in rows)]
    called = [STAGE[stage] for stage in present]
    columns = {STAGE[s]: [round(row.stages.get(s, 0.0), 4) for row in rows] for s in present}
    return _stacked(names, columns, [STAGE_COLOUR[stage] for stage in present], called, "ms", "%.3f ms")


def sources(rows: Sequence[Measurement], names: Sequence[str]) -> dict[str, Any]:
    """Who supplied the accepted winners, stacked to one, one bar for each row."""
    present = sorted({source for row in rows for source in row.sources})
    said = {str(source): name for source, name in words.SOURCE.items()}
    called = [said.get(source, source) for source in present]
    columns = {
        said.get(source, source): [round(row.sources.get(source, 0.0), 4) for row in rows]
        for source in present
    }
    option = _stacked(
        names, columns, [SOURCE_COLOUR.get(s, "#7a86a0") for s in present], called, "share", "%.3f"
    )
    option["xAxis"]["max"] = 1
    return option


def timeline(traced: Traced, *, only_search: bool) -> dict[str, Any]:
    """As a browser's network panel: each stage of each strategy where it ran, on one clock.

    A bar stands on an invisible one that is as long as what happened before.
    """
    rows = [
        (f"{words.STRATEGY[strategy]}  {STAGE.get(span.stage, span.stage)}", span)
        for strategy, search in traced.searches.items()
        for span in search.spans
        if not (only_search and span.stage in ("detect", "embed"))
    ]
    if not rows:
        return {"title": dict(NOTHING)}
    begin = min(span.start_ms for _, span in rows) if only_search else 0.0
    stages_ = [stage for stage in STAGE_COLOUR if any(span.stage == stage for _, span in rows)]
    offset = {
        "type": "bar",
        "stack": "time",
        "silent": True,
        "barWidth": 12,
        "itemStyle": {"color": "transparent"},
        "data": [round(span.start_ms - begin, 4) for _, span in rows],
    }
    return {
        "animation": False,
        "grid": {**GRID, "right": 64, "top": 56},
        "legend": {"top": 0, "data": [STAGE.get(stage, stage) for stage in stages_]},
        "tooltip": {"trigger": "item"},
        "xAxis": {"type": "value", "axisLabel": {"formatter": "{value} ms", "hideOverlap": True}},
        "yAxis": {
            "type": "category",
            "inverse": True,
            "data": [name for name, _ in rows],
            "axisTick": {"show": False},
            "axisLabel": {"interval": 0},
        },
        "series": [offset, *(_spans(stage, [span for _, span in rows]) for stage in stages_)],
    }


def _spans(stage: str, spans: Sequence[Any]) -> dict[str, Any]:
    return {
        "type": "bar",
        "stack": "time",
        "name": STAGE.get(stage, stage),
        "itemStyle": {"color": STAGE_COLOUR[stage], "borderRadius": 2},
        "barMinHeight": 2,
        "label": {"show": True, "position": "right", "formatter": "{c} ms"},
        "tooltip": {"formatter": "{b}: {c} ms"},
        "data": [_rounded(span.duration_ms) if span.stage == stage else None for span in spans],
    }


def _rounded(ms: float) -> float:
    """As many digits as mean something: bars are labelled with them."""
    return round(ms, 1 if ms >= 10 else 2 if ms >= 1 else 3)


def _line(strategy: Strategy, name: str, dash: str) -> dict[str, Any]:
    colour = STRATEGY_COLOUR[strategy]
    return {
        "type": "line",
        "name": name,
        "itemStyle": {"color": colour},
        "lineStyle": {"color": colour, "type": dash, "width": 2},
    }


def _legend(names: Sequence[str]) -> dict[str, Any]:
    """A legend with room for all names, also on a phone, and the grid below it."""
    widest = max(map(len, names), default=0)

    def top(pixels: int) -> int:
        in_a_row = max(1, pixels // (40 + 6 * widest))
        return 34 + 24 * -(-len(names) // in_a_row)

    return {
        "legend": {"top": 0},
        "grid": {**GRID, "top": top(400), "bottom": 28},
        "media": [{"query": {"maxWidth": 390}, "option": {"grid": {"top": top(330)}}}],
    }


def _dash(lines: Sequence[tuple[Measurement, str]], number: int) -> str:
    """Lines of one strategy share its colour and differ in their dashes."""
    strategy = lines[number][0].setting.strategy
    earlier = sum(row.setting.strategy is strategy for row, _ in lines[:number])
    return _DASH[earlier % len(_DASH)]


def _rate(rows: Sequence[Measurement], clients: int) -> float | None:
    found = next((row.throughput_per_s for row in rows if row.concurrency == clients), None)
    return round(found.value, 1) if found else None


def _stacked(
    names: Sequence[str],
    columns: Mapping[str, Sequence[float]],
    colours: Sequence[str],
    called: Sequence[str],
    axis: str,
    figure: str,
) -> dict[str, Any]:
    return {
        "animation": False,
        "color": list(colours),
        "grid": {**GRID, "bottom": 28},
        "legend": {"top": 0},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}, "valueFormatter": figure},
        "dataset": {"source": pd.DataFrame({"setting": list(names), **columns})},
        "xAxis": {
            "type": "value",
            "name": axis,
            "nameLocation": "middle",
            "nameGap": 28,
            "axisLabel": {"hideOverlap": True},
        },
        "yAxis": {
            "type": "category",
            "inverse": True,
            "axisLabel": {"interval": 0, "width": 150, "overflow": "break", "lineHeight": 14},
        },
        "series": [
            {
                "type": "bar",
                "name": name,
                "stack": "all",
                "barMaxWidth": 24,
                "encode": {"x": name, "y": "setting"},
            }
            for name in called
        ],
    }


def recorded(similarities: Sequence[float], bins: int = 40) -> dict[str, Any]:
    """How many checks on record had which similarity."""
    counts, edges = np.histogram(np.clip(similarities, 0.0, 1.0), bins, (0.0, 1.0))
    frame = pd.DataFrame({"similarity": [f"{edge:.2f}" for edge in edges[:-1]], "checks": counts})
    return {
        "animation": False,
        "grid": {**GRID, "top": 24, "bottom": 28},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "dataset": {"source": frame},
        "xAxis": {"type": "category", "name": "similarity", "nameLocation": "middle", "nameGap": 28},
        "yAxis": {"type": "value", "minInterval": 1},
        "series": [{"type": "bar", "encode": {"x": "similarity", "y": "checks"}}],
    }
