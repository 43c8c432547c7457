"""Charts as SVG text, for a report that is read without Robi. Colours are the page's: classes c0 to c9."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 12, 44
COLOURS = 10


@dataclass(frozen=True, slots=True)
class Point:
    """A mark with its number; `told` is shown when the pointer rests on it."""

    x: float
    y: float
    number: int
    told: str
    best: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Bar:
    number: int
    parts: Sequence[float]


@dataclass(frozen=True, slots=True)
class _Axis:
    """From a value to its place on the picture."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(max(value, self.low))
        return self.start + (self.end - self.start) * (at - low) / (high - low)

    def ticks(self) -> list[float]:
        if not self.log:
            return [self.low + (self.high - self.low) * n / 4 for n in range(5)]
        steps = [m * 10.0**e for e in range(-4, 7) for m in (1, 2, 5)]
        return [step for step in steps if self.low <= step <= self.high]


def scatter(points: Sequence[Point], x: str, y: str) -> str:
    """Cost to the right (logarithmic), value upwards; the best are joined by a line."""
    if not points:
        return ""
    across = _logarithmic([p.x for p in points])
    lowest = min(p.y for p in points)
    up = _Axis(max(0.0, lowest - max(0.01, (1 - lowest) * 0.2)), 1.0, HEIGHT - BOTTOM, TOP + 12)
    best = sorted((p for p in points if p.best), key=lambda p: p.x)
    front = _path([(across.place(p.x), up.place(p.y)) for p in best], "front") if len(best) > 1 else ""
    marks = "".join(_mark(p, across, up) for p in points)
    return _framed(across, up, x, y, front + marks)


def lines(series: Sequence[Line], x: str, y: str, *, steps: bool = False) -> str:
    """Lines over a logarithmic axis; `steps` for a distribution that ends at 1."""
    points = [point for line in series for point in line.points]
    if not points:
        return ""
    across = _logarithmic([px for px, _ in points])
    top = 1.0 if steps else 1.1 * max(py for _, py in points)
    up = _Axis(0.0, top, HEIGHT - BOTTOM, TOP)
    drawn = [_series(line, across, up, steps=steps) for line in series]
    return _framed(across, up, x, y, "".join(drawn))


def stacks(bars: Sequence[Bar], names: Sequence[str], x: str) -> str:
    """A horizontal bar for each, of coloured parts."""
    if not bars:
        return ""
    row = 22
    bottom = TOP + row * len(bars)
    across = _Axis(0.0, max(sum(bar.parts) for bar in bars) or 1.0, LEFT, WIDTH - RIGHT)
    parts = [_bar(bar, TOP + row * place, row - 6, across, names) for place, bar in enumerate(bars)]
    ticks = "".join(_x_tick(across, tick, bottom) for tick in across.ticks())
    title = _text((LEFT + WIDTH - RIGHT) / 2, bottom + 36, x, "middle")
    return _svg(bottom + BOTTOM, "".join(parts) + ticks + title)


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _mark(p: Point, across: _Axis, up: _Axis) -> str:
    x, y = across.place(p.x), up.place(p.y)
    ring = f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="11"/>' if p.best else ""
    dot = f'<circle class="c{p.number % COLOURS} fill" cx="{x:.1f}" cy="{y:.1f}" r="8"/>'
    named = f'<text class="on" x="{x:.1f}" y="{y + 3.5:.1f}" text-anchor="middle">{p.number}</text>'
    return f"<g><title>{escape(p.told)}</title>{ring}{dot}{named}</g>"


def _series(line: Line, across: _Axis, up: _Axis, *, steps: bool) -> str:
    places: list[tuple[float, float]] = []
    for px, py in line.points:
        x, y = across.place(px), up.place(py)
        if steps:
            places.append((x, places[-1][1] if places else up.place(0.0)))
        places.append((x, y))
    colour = f"c{line.number % COLOURS}"
    dots = (
        ""
        if steps
        else "".join(f'<circle class="{colour} fill" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in places)
    )
    drawn = _path(places, f"{colour} stroke")
    at = places[min(len(places) - 1, line.number * len(places) // (COLOURS + 1))] if steps else places[-1]
    named = _text(
        at[0] + 6, at[1] - 4, str(line.number), "start"
    )  # on a distribution, each at its own height
    return f"<g>{drawn}{dots}{named}</g>"


def _bar(bar: Bar, y: float, height: float, across: _Axis, names: Sequence[str]) -> str:
    at, drawn = 0.0, _text(LEFT - 8, y + height - 4, str(bar.number), "end")
    for place, (name, part) in enumerate(zip(names, bar.parts, strict=True)):
        x, end = across.place(at), across.place(at + part)
        told = escape(f"{name}: {number(part)}")
        drawn += (
            f'<rect class="c{place} fill" x="{x:.1f}" y="{y}" width="{max(0.0, end - x):.1f}" '
            f'height="{height}"><title>{told}</title></rect>'
        )
        at += part
    return drawn


def _logarithmic(values: Sequence[float]) -> _Axis:
    low, high = max(min(values), 1e-3), max(*values, 1e-3)
    return _Axis(low / 1.25, high * 1.25, LEFT, WIDTH - RIGHT, log=True)


def _framed(across: _Axis, up: _Axis, x: str, y: str, inside: str) -> str:
    bottom = HEIGHT - BOTTOM
    grid = "".join(
        f'<path class="grid" d="M{LEFT} {up.place(t):.1f}H{WIDTH - RIGHT}"/>'
        + _text(LEFT - 8, up.place(t) + 4, number(t), "end")
        for t in up.ticks()
    )
    below = "".join(_x_tick(across, tick, bottom) for tick in across.ticks())
    titles = _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x, "middle")
    middle = (TOP + bottom) / 2
    titles += f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(y)}</text>'
    return _svg(HEIGHT, grid + below + titles + inside)


def _x_tick(across: _Axis, tick: float, bottom: float) -> str:
    x = across.place(tick)
    return f'<path class="grid" d="M{x:.1f} {bottom}v4"/>' + _text(x, bottom + 18, number(tick), "middle")


def _path(places: Sequence[tuple[float, float]], kind: str) -> str:
    return f'<path class="{kind}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in places)}"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _svg(height: float, inside: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img">{inside}</svg>'
