"""Where the labels of a picture's points go, so that none covers another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# Sizes as shares of the plot, between a desktop's and a phone's.
_LETTER = 0.017
_LINE = 0.058
SYMBOL = (0.025, 0.035)
STROKE = 0.004
FAR = 0.2
NEAR = 0.035  # a label no further from its point needs no line to it


class LabelBox(NamedTuple):
    """What a label covers, in the unit square."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: LabelBox) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.bottom < other.top
            and other.bottom < self.top
        )


class Place(NamedTuple):
    """Where a label goes: it begins right of its point or, `leftwards`, ends left of it."""

    height: float
    leftwards: bool


def place(
    points: Sequence[tuple[float, float]], letters: Sequence[int], lines: Sequence[LabelBox] = ()
) -> list[Place | None]:
    """Where the labels of points in the unit square go, so that none covers another or a point, nor one of
    the lines if it need not go FAR for that. None where there are no letters, or no room.
    """
    taken = [LabelBox(x - SYMBOL[0], y - SYMBOL[1], x + SYMBOL[0], y + SYMBOL[1]) for x, y in points]
    places: list[Place | None] = [None] * len(points)
    for number in sorted(range(len(points)), key=lambda n: (-points[n][0], points[n][1])):
        if not letters[number]:
            continue
        x, y = points[number]
        tried = [(one, label_box(x, one, letters[number])) for one in _tries(y)]
        free = [(one, box) for one, box in tried if _within(box) and not any(map(box.meets, taken))]
        close = [(one, box) for one, box in free if abs(one.height - y) <= FAR]
        clear = [(one, box) for one, box in close if not any(map(box.meets, lines))]
        for one, box in [*clear, *free][:1]:
            taken.append(box)
            places[number] = one
    return places


def _tries(y: float) -> list[Place]:
    """Places to try, nearest first: above, then below, then further and further."""
    steps = [NEAR + _LINE * step for step in range(16)]
    return [Place(y + sign * step, left) for step in steps for sign in (1, -1) for left in (False, True)]


def _within(box: LabelBox) -> bool:
    return box.left >= 0 and box.right <= 1.02 and box.bottom >= 0 and box.top <= 1 + _LINE / 4


def label_box(x: float, at: Place, letters: int) -> LabelBox:
    """What a label of so many letters covers, at its place beside a point at `x`."""
    start = x + SYMBOL[0] / 2
    if at.leftwards:
        start = x - SYMBOL[0] / 2 - _LETTER * letters
    return LabelBox(start, at.height - _LINE / 2, start + _LETTER * letters, at.height + _LINE / 2)
