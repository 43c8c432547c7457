"""The one picture of a comparison: recall against p95, a point for each setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from core.types import Strategy
from dashboard import words
from dashboard.charts.common import GRID

SHAPE: Mapping[Strategy, str] = MappingProxyType(
    {Strategy.HYBRID: "circle", Strategy.FAISS_FIRST: "triangle", Strategy.QDRANT_ONLY: "diamond"}
)
GREY = "#78849a"  # as `unknown` in style.css: legible on both backgrounds

ALL_LABELLED = 8  # points; of more, those on the front, the chosen one and the one in use

# Sizes as shares of the plot, between a desktop's and a phone's.
_LETTER = 0.017
_LINE = 0.058
_SYMBOL = (0.025, 0.035)
_NEAR = 0.035  # a label as high above its point needs no stem


@dataclass(frozen=True, slots=True)
class Point:
    """One setting. `low` and `high` are the ends of its intervals, where the sample supports them."""

    strategy: Strategy
    label: str
    p95: float
    p95_ends: tuple[float, float]
    recall: float
    recall_ends: tuple[float, float]
    on_front: bool


def picture(
    points: Sequence[Point], *, chosen: int | None, live: int | None, upwards: str = "recall@1"
) -> dict[str, Any]:
    """Recall@1 against p95 (logarithmic), the Pareto front, the chosen setting and the one in use.

    A strategy's series has its name as `id`, and its data in the order of `points`.
    """
    bottom = _bottom(points)
    left = min(point.p95_ends[0] for point in points) * 0.85
    right = max(point.p95_ends[1] for point in points) * 1.5  # room for the last label
    level = _level(points, bottom)
    series = [_points(strategy, points) for strategy in Strategy]  # first: they take the colours
    series += [_front(points), _intervals(points, bottom, level)]
    series += _rings(points, chosen, live)
    named = [
        point.label if len(points) <= ALL_LABELLED or point.on_front or number in (chosen, live) else ""
        for number, point in enumerate(points)
    ]
    series += _labels(points, named, bottom, left, right)
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
            "max": 1,
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


def front(points: Sequence[Point]) -> list[tuple[float, float]]:
    """The corners of the front, quickest first."""
    return sorted((point.p95, point.recall) for point in points if point.on_front)


def _present(points: Sequence[Point]) -> list[str]:
    return [words.STRATEGY[strategy] for strategy in Strategy if any(p.strategy is strategy for p in points)]


def _bottom(points: Sequence[Point]) -> float:
    """Where the axis begins: below every interval, and never so near to 1 that nothing fits between."""
    lowest = min(point.recall_ends[0] for point in points)
    return max(0.0, min(math.floor(lowest * 100) / 100, 0.98))


def _level(points: Sequence[Point], bottom: float) -> bool:
    """Whether all points are at about one height: whiskers of recall would say the same many times."""
    heights = [point.recall for point in points]
    return max(heights) - min(heights) < 0.15 * (1 - bottom)


def _points(strategy: Strategy, points: Sequence[Point]) -> dict[str, Any]:
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


def _datum(point: Point) -> dict[str, Any]:
    return {"name": point.label, "value": [round(point.p95, 3), round(point.recall, 4)]}


def _front(points: Sequence[Point]) -> dict[str, Any]:
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


def _intervals(points: Sequence[Point], bottom: float, level: bool) -> dict[str, Any]:
    """Whiskers of 95 % confidence; those of recall are all alike where the points are at one height."""
    lines = [[[p.p95_ends[0], p.recall], [p.p95_ends[1], p.recall]] for p in points]
    if not level:
        lines += [[[p.p95, max(p.recall_ends[0], bottom)], [p.p95, p.recall_ends[1]]] for p in points]
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


def _rings(points: Sequence[Point], chosen: int | None, live: int | None) -> list[dict[str, Any]]:
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
    points: Sequence[Point], named: Sequence[str], bottom: float, left: float, right: float
) -> list[dict[str, Any]]:
    """Each point's label where nothing else is; a thin line leads to those that are further away."""
    places = [
        (math.log(p.p95 / left) / math.log(right / left), (p.recall - bottom) / (1 - bottom)) for p in points
    ]
    heights = place(places, [len(label) for label in named])
    placed = [
        (point, bottom + (1 - bottom) * height)
        for point, height in zip(points, heights, strict=True)
        if height is not None
    ]
    far = [
        [[p.p95, p.recall], [p.p95, y]] for p, y in placed if abs(y - p.recall) > 1.5 * _NEAR * (1 - bottom)
    ]
    return [_strokes("stems", far, opacity=0.35)] + [
        _texts(strategy, [(p, y) for p, y in placed if p.strategy is strategy]) for strategy in Strategy
    ]


def place(points: Sequence[tuple[float, float]], letters: Sequence[int]) -> list[float | None]:
    """Heights of the labels of points in the unit square, so that none covers another or a point.

    A label begins right of its point. None where there are no letters, or no room.
    """
    taken = [(x - _SYMBOL[0], y - _SYMBOL[1], x + _SYMBOL[0], y + _SYMBOL[1]) for x, y in points]
    heights: list[float | None] = [None] * len(points)
    for number in sorted(range(len(points)), key=lambda n: (-points[n][0], points[n][1])):
        x, y = points[number]
        boxes = [_box(x, height, letters[number]) for height in _tries(y) if letters[number]]
        free = [box for box in boxes if not any(_overlap(box, other) for other in taken)]
        if free:
            taken.append(free[0])
            heights[number] = (free[0][1] + free[0][3]) / 2
    return heights


def _tries(y: float) -> list[float]:
    """Heights to try, nearest first: above, then below, then further and further."""
    steps = [_NEAR + _LINE * step for step in range(16)]
    wanted = [y + sign * step for step in steps for sign in (1, -1)]
    return [height for height in wanted if _LINE / 2 <= height <= 1 - _LINE / 4]


def _box(x: float, y: float, letters: int) -> tuple[float, float, float, float]:
    start = x + _SYMBOL[0] / 2
    return (start, y - _LINE / 2, start + _LETTER * letters, y + _LINE / 2)


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _texts(strategy: Strategy, placed: Sequence[tuple[Point, float]]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "id": f"{strategy.value}_label",
        "name": words.STRATEGY[strategy],  # takes the strategy's colour
        "symbolSize": 1,
        "silent": True,
        "z": 6,
        "itemStyle": {"opacity": 1},
        "label": {
            "show": True,
            "formatter": "{b}",
            "position": "right",
            "distance": 8,
            "color": "inherit",
            "textBorderWidth": 0,
        },
        "data": [{"name": point.label, "value": [point.p95, height]} for point, height in placed],
    }
