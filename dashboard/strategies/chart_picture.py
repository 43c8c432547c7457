"""The one picture of a comparison: recall against p95, a point for each setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from core.domain.search import Strategy
from dashboard.shared import words
from dashboard.shared.charts import GRID
from dashboard.strategies.chart_labels import NEAR, STROKE, LabelBox, place

SHAPE: Mapping[Strategy, str] = MappingProxyType(
    {Strategy.HYBRID: "circle", Strategy.FAISS_FIRST: "triangle", Strategy.QDRANT_ONLY: "diamond"}
)
GREY = "#78849a"  # as `unknown` in style.css: legible on both backgrounds

ALL_LABELLED = 8  # points; of more, those on the front, the chosen one and the one in use
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True, slots=True)
class SettingPoint:
    """One setting. `low` and `high` are the ends of its intervals, where the sample supports them."""

    strategy: Strategy
    label: str
    p95: float
    p95_ends: tuple[float, float]
    recall: float
    recall_ends: tuple[float, float]
    on_front: bool


def picture(
    points: Sequence[SettingPoint], *, chosen: int | None, live: int | None, upwards: str = "recall@1"
) -> dict[str, Any]:
    """Recall@1 against p95 (logarithmic), the Pareto front, the chosen setting and the one in use.

    A strategy's series has its name as `id`, and its data in the order of `points`.
    """
    bottom, top, step = _range(points)
    left = min(point.p95_ends[0] for point in points) * 0.85
    right = max(point.p95_ends[1] for point in points) * 1.5  # room for the last label
    series = [_points(strategy, points) for strategy in Strategy]  # first: they take the colours
    series += [_front(points), _intervals(points)]
    series += _rings(points, chosen, live)
    named = [
        point.label if len(points) <= ALL_LABELLED or point.on_front or number in (chosen, live) else ""
        for number, point in enumerate(points)
    ]
    series += _labels(points, named, (left, right), (bottom, top))
    return {
        "animation": False,
        "grid": {**GRID, "top": 72, "bottom": 28},
        "legend": {
            "top": 0,
            "itemWidth": 16,
            "itemHeight": 12,
            "data": [*_present(points), "Pareto front", *(["In use"] if live is not None else [])],
        },
        "tooltip": {"trigger": "item"},
        "xAxis": log_axis(left, right, "p95 of a search, ms (log scale)"),
        "yAxis": {
            "type": "value",
            "name": f"{upwards}    ↖ better",
            "nameTextStyle": {"align": "left"},
            "nameGap": 22,
            "min": bottom,
            "max": top,
            "interval": step,
        },
        "series": series,
        "media": [{"query": {"maxWidth": 480}, "option": {"grid": {"top": 96}}}],
    }


def log_axis(left: float, right: float, name: str) -> dict[str, Any]:
    """A logarithmic axis with round numbers on it."""
    marks = ticks(left, right)
    return {
        "type": "log",
        "min": left,
        "max": right,
        "name": name,
        "nameLocation": "middle",
        "nameGap": 28,
        "axisLabel": {"customValues": marks, "hideOverlap": True},
        "axisTick": {"customValues": marks},
    }


def ticks(left: float, right: float) -> list[float]:
    """Round numbers from `left` to `right`: 1, 2, 5, 10 …, and more of them where these are few."""
    decades = range(math.floor(math.log10(left)), math.ceil(math.log10(right)) + 1)
    for steps in ((1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)):
        found = [round(step * 10.0**decade, 9) for decade in decades for step in steps]
        found = [mark for mark in found if left <= mark <= right]
        if len(found) >= 3:
            return found
    return [float(f"{left * (right / left) ** share:.2g}") for share in (0.1, 0.5, 0.9)]


def front(points: Sequence[SettingPoint]) -> list[tuple[float, float]]:
    """The corners of the front, quickest first."""
    return sorted((point.p95, point.recall) for point in points if point.on_front)


def _present(points: Sequence[SettingPoint]) -> list[str]:
    return [words.STRATEGY[strategy] for strategy in Strategy if any(p.strategy is strategy for p in points)]


def _range(points: Sequence[SettingPoint]) -> tuple[float, float, float]:
    """Where the axis begins and ends, and its step: round numbers just around all intervals."""
    lowest = min(point.recall_ends[0] for point in points)
    highest = max(point.recall_ends[1] for point in points)
    step = next(s for s in _STEPS if highest - lowest <= 6 * s)
    bottom, top = math.floor(lowest / step + 1e-9), math.ceil(highest / step - 1e-9)
    return round(bottom * step, 3), round(max(top, bottom + 1) * step, 3), step


def _points(strategy: Strategy, points: Sequence[SettingPoint]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "id": strategy.value,
        "name": words.STRATEGY[strategy],
        "symbol": SHAPE[strategy],
        "symbolSize": 16,
        "selectedMode": "single",
        "z": 5,
        "itemStyle": {"opacity": 1},
        "select": {"itemStyle": {"borderWidth": 0}},  # the ring tells which is chosen, also from the list
        "tooltip": {"formatter": "{a}<br/>{b}<br/>p95 {@[0]} ms · {@[1]}"},
        "data": [_datum(point) for point in points if point.strategy is strategy],
    }


def _datum(point: SettingPoint) -> dict[str, Any]:
    return {"name": point.label, "value": [round(point.p95, 3), round(point.recall, 4)]}


def _front(points: Sequence[SettingPoint]) -> dict[str, Any]:
    return {
        "type": "line",
        "name": "Pareto front",
        "data": [list(corner) for corner in front(points)],
        "step": "end",
        "symbol": "none",
        "silent": True,
        "z": 2,
        "lineStyle": {"type": "dashed", "width": 2, "color": GREY},
        "itemStyle": {"color": GREY},
    }


def _intervals(points: Sequence[SettingPoint]) -> dict[str, Any]:
    """Whiskers of 95 % confidence."""
    lines = [[[p.p95_ends[0], p.recall], [p.p95_ends[1], p.recall]] for p in points]
    lines += [[[p.p95, p.recall_ends[0]], [p.p95, p.recall_ends[1]]] for p in points]
    return _strokes("intervals", lines, opacity=0.6)


def _strokes(id_: str, lines: Sequence[Any], opacity: float) -> dict[str, Any]:
    return {
        "type": "lines",
        "id": id_,
        "coordinateSystem": "cartesian2d",
        "silent": True,
        "z": 1,
        "lineStyle": {"color": GREY, "width": 1, "opacity": opacity},
        "data": [{"coords": coords} for coords in lines],
    }


def _rings(points: Sequence[SettingPoint], chosen: int | None, live: int | None) -> list[dict[str, Any]]:
    wanted = [("Chosen", chosen, 26, "solid"), ("In use", live, 34, "dashed")]
    return [
        {
            "type": "scatter",
            "name": name,
            "symbol": "circle",
            "symbolSize": size,
            "silent": True,
            "z": 4,
            "data": [[points[which].p95, points[which].recall]],
            "itemStyle": {"color": "transparent", "borderColor": GREY, "borderWidth": 2, "borderType": line},
        }
        for name, which, size, line in wanted
        if which is not None
    ]


# ---------------------------------------------------------------- labels


def _labels(
    points: Sequence[SettingPoint], named: Sequence[str], across: tuple[float, float], up: tuple[float, float]
) -> list[dict[str, Any]]:
    """Each point's label where nothing else is; a thin line leads to those that are further away."""
    square = _Square(across, up)
    whiskers = [box for p in points for box in square.whiskers(p)]
    places = place([square.at(p.p95, p.recall) for p in points], [len(label) for label in named], whiskers)
    placed = [
        (point, square.value(found.height), found.leftwards)
        for point, found in zip(points, places, strict=True)
        if found is not None
    ]
    far = [
        [[p.p95, p.recall], [p.p95, y]] for p, y, _ in placed if abs(y - p.recall) > 1.5 * NEAR * square.tall
    ]
    return [_strokes("stems", far, opacity=0.35)] + [
        _texts(
            strategy,
            leftwards,
            [(p, y) for p, y, left in placed if (p.strategy, left) == (strategy, leftwards)],
        )
        for strategy in Strategy
        for leftwards in (False, True)
    ]


@dataclass(frozen=True, slots=True)
class _Square:
    """The plot as the unit square."""

    across: tuple[float, float]
    up: tuple[float, float]

    @property
    def tall(self) -> float:
        return self.up[1] - self.up[0]

    def at(self, p95: float, recall: float) -> tuple[float, float]:
        left, right = self.across
        return math.log(p95 / left) / math.log(right / left), (recall - self.up[0]) / self.tall

    def value(self, height: float) -> float:
        return self.up[0] + self.tall * height

    def whiskers(self, point: SettingPoint) -> list[LabelBox]:
        x, y = self.at(point.p95, point.recall)
        left, right = (self.at(end, point.recall)[0] for end in point.p95_ends)
        low, high = (self.at(point.p95, end)[1] for end in point.recall_ends)
        return [LabelBox(left, y - STROKE, right, y + STROKE), LabelBox(x - STROKE, low, x + STROKE, high)]


def _texts(
    strategy: Strategy, leftwards: bool, placed: Sequence[tuple[SettingPoint, float]]
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "id": f"{strategy.value}_label_{'left' if leftwards else 'right'}",
        "name": words.STRATEGY[strategy],  # takes the strategy's colour
        "symbolSize": 1,
        "silent": True,
        "z": 6,
        "itemStyle": {"opacity": 1},
        "labelLayout": {"hideOverlap": True},  # on a screen too narrow for what was reckoned with
        "label": {
            "show": True,
            "formatter": "{b}",
            "position": "left" if leftwards else "right",
            "distance": 8,
            "color": "inherit",
            "textBorderWidth": 0,
        },
        "data": [{"name": point.label, "value": [point.p95, height]} for point, height in placed],
    }
