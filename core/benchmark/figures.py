"""The charts of a report, which is read without Robi: legible on a light page and on a dark one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from plotly.graph_objects import Bar, Figure, Scatter
from plotly.io import to_html

GREY = "#78849a"
COLOURS = (  # white stands out on each, and each on black
    "#1f6feb",
    "#b35900",
    "#1a7f4b",
    "#8a3ffc",
    "#c2255c",
    "#0b7285",
    "#806000",
    "#7048e8",
    "#d6336c",
    "#6c7683",
)
HEIGHT, ROW = 340, 24  # pixels: of a figure, and of a bar


@dataclass(frozen=True, slots=True)
class ScatterMark:
    """A setting in the scatter; `told` is shown when the pointer rests on it."""

    x: float
    y: float
    number: int
    told: str
    best: bool


@dataclass(frozen=True, slots=True)
class Line:
    """A setting's line."""

    number: int
    x: Sequence[float]
    y: Sequence[float]


def scatter(marks: Sequence[ScatterMark], x: str, y: str) -> str:
    """Cost to the right, value upwards; the best are ringed and joined by a line."""
    best = sorted((mark.x, mark.y) for mark in marks if mark.best)
    front = Scatter(
        x=[across for across, _ in best],
        y=[up for _, up in best],
        mode="lines",
        line={"color": GREY, "dash": "dash"},
        hoverinfo="skip",
    )
    numbered = Scatter(
        x=[mark.x for mark in marks],
        y=[mark.y for mark in marks],
        mode="markers+text",
        marker={
            "color": [_colour(mark.number) for mark in marks],
            "size": 20,
            "line": {"color": GREY, "width": [3 if mark.best else 0 for mark in marks]},
        },
        text=[str(mark.number) for mark in marks],
        textfont={"color": "white", "size": 10},
        hovertext=[escape(mark.told) for mark in marks],
        hoverinfo="text",
    )
    return _html(Figure([front, numbered]), x, y, xaxis_type="log", showlegend=False)


def distributions(lines: Sequence[Line], x: str, y: str) -> str:
    """The share that is at most so large: steps from nothing to all."""
    steps = [Line(line.number, (line.x[0], *line.x), (0.0, *line.y)) for line in lines]
    return _html(Figure([_line(line, mode="lines", shape="hv") for line in steps]), x, y, xaxis_type="log")


def curves(lines: Sequence[Line], x: str, y: str) -> str:
    """Lines through few points; the axis has a tick where there is one."""
    ticks = sorted({across for line in lines for across in line.x})
    drawn = Figure([_line(line, mode="lines+markers", shape="linear") for line in lines])
    axis = {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    return _html(drawn, x, y, xaxis=axis, yaxis_rangemode="tozero")


def stacks(numbers: Sequence[int], parts: Mapping[str, Sequence[float]], x: str) -> str:
    """A horizontal bar for each setting, of one piece for each of the named parts."""
    bars = [
        Bar(
            x=pieces,
            y=[str(number) for number in numbers],
            orientation="h",
            name=name,
            marker_color=COLOURS[place],
            hovertemplate=f"{name}: %{{x:.3g}}<extra></extra>",
        )
        for place, (name, pieces) in enumerate(parts.items())
    ]
    axis = {"type": "category", "autorange": "reversed"}
    height = 140 + ROW * len(numbers)
    return _html(Figure(bars), x, "setting", barmode="stack", height=height, yaxis=axis)


def _line(line: Line, mode: str, shape: str) -> Scatter:
    return Scatter(
        x=line.x,
        y=line.y,
        mode=mode,
        name=str(line.number),
        line={"color": _colour(line.number), "shape": shape},
        hovertemplate="%{x:.3g}: %{y:.3g}",
    )


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _html(figure: Figure, x: str, y: str, **layout: object) -> str:
    """What draws the figure on a page that has plotly's script."""
    figure.update_layout(
        template="none",
        height=HEIGHT,
        margin={"l": 64, "r": 16, "t": 16, "b": 48},
        font_color=GREY,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
        showlegend=True,
    )
    figure.update_xaxes(title_text=x, gridcolor=f"{GREY}55", zeroline=False)
    figure.update_yaxes(title_text=y, gridcolor=f"{GREY}55", zeroline=False)
    figure.update_layout(**layout)
    shown: str = to_html(figure, include_plotlyjs=False, full_html=False, config={"displaylogo": False})
    return shown
