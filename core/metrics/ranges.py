"""What was measured in the last five minutes to thirty days, as points for a figure and as one whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from core.domain.errors import BadInput
from core.ledger.history import HOUR, MINUTE
from core.metrics import series
from core.metrics.figures import Series, Window
from core.metrics.measured import Measured, sum_of
from core.metrics.metrics import Metrics, drawable
from core.metrics.recorder import Recorder
from core.metrics.series import Point

DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Range:
    """The last `seconds`, one point each `step` seconds; from rows of a `length`, or None: from memory.

    No range reads more than some hundred rows: each has some kilobytes.
    """

    name: str
    seconds: int
    step: int
    length: int | None


RANGES = MappingProxyType(
    {
        found.name: found
        for found in (
            Range("5min", 5 * MINUTE, 5, None),
            Range("15min", 15 * MINUTE, 5, None),
            Range("1h", HOUR, MINUTE, MINUTE),
            Range("6h", 6 * HOUR, 2 * MINUTE, MINUTE),
            Range("24h", DAY, 10 * MINUTE, 10 * MINUTE),
            Range("7d", 7 * DAY, HOUR, HOUR),
            Range("30d", 30 * DAY, 4 * HOUR, 4 * HOUR),
        )
    }
)
USUAL = "15min"


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A range as it was looked at: its last point begins before `until`, in seconds since 1970."""

    name: str
    seconds: int
    step: int
    until: float


@dataclass(frozen=True, slots=True)
class RangeFigures:
    """What was measured in a range, as one whole and as points."""

    range: TimeRange
    window: Window
    series: Series


@dataclass(frozen=True, slots=True)
class _Read:
    """Rows of the ledger put together to points, as they were at a version of the recorder."""

    version: int
    until: int
    points: dict[int, Point]
    total: Measured


class Ranges:
    """Thread-safe. Rows of the ledger are read again only after the recorder has written."""

    def __init__(self, metrics: Metrics, recorder: Recorder, wall: Callable[[], float] = time.time) -> None:
        self._metrics = metrics
        self._recorder = recorder
        self._wall = wall
        self._lock = threading.Lock()
        self._read: dict[str, _Read] = {}

    def of(self, name: str) -> RangeFigures:
        """
        Raises:
            BadInput: `bad_parameter` for an unknown range.
        """
        if name not in RANGES:
            raise BadInput("bad_parameter", "There is no such range.", f"Use one of {', '.join(RANGES)}.")
        found = RANGES[name]
        now = self._wall()
        points, total = self._coarse(found, now) if found.length else self._fine(found)
        return RangeFigures(
            range=TimeRange(name, found.seconds, found.step, round(now, 3)),
            window=series.window(total),
            series=series.columns(points),
        )

    def _fine(self, chosen: Range) -> tuple[Sequence[Point], Measured]:
        points, total = self._metrics.points(chosen.seconds)
        return drawable(points), total

    def _coarse(self, chosen: Range, now: float) -> tuple[list[Point], Measured]:
        until = _start(now, chosen.step)
        since = until + chosen.step - chosen.seconds
        read, waiting = self._whole(chosen, since, until)
        points, total = dict(read.points), sum_of([read.total])
        for start, measured in waiting:
            place = _start(start, chosen.step)
            if since <= place <= until:
                held = points.get(place)
                both = sum_of([held.measured, measured] if held else [measured])
                points[place] = _point(place, chosen.step, both)
                total.add(measured)
        every = range(since, until + 1, chosen.step)
        return [points.get(place) or _point(place, chosen.step, Measured()) for place in every], total

    def _whole(self, chosen: Range, since: int, until: int) -> tuple[_Read, Sequence[tuple[float, Measured]]]:
        """What the ledger has and what waits for it, of one version: a write between the two moves minutes
        out of sight of both."""
        while True:
            read = self._rows(chosen, since, until)
            version, waiting = self._recorder.waiting()
            if version == read.version:
                return read, waiting

    def _rows(self, chosen: Range, since: int, until: int) -> _Read:
        with self._lock:  # one reader for all who look at the same range
            kept, version = self._read.get(chosen.name), self._recorder.version
            if kept is not None and (kept.version, kept.until) == (version, until):
                return kept
            gathered: dict[int, Measured] = {}
            for start, measured in self._recorder.read(
                chosen.length or MINUTE, since, until + chosen.step - 1
            ):
                gathered.setdefault(_start(start, chosen.step), Measured()).add(measured)
            points = {place: _point(place, chosen.step, one) for place, one in gathered.items()}
            read = _Read(version, until, points, sum_of(list(gathered.values())))
            self._read[chosen.name] = read
            return read


def _point(start: int, seconds: int, measured: Measured) -> Point:
    return Point(float(start), float(seconds), measured, series.summary(measured))


def _start(moment: float, step: int) -> int:
    return int(moment // step) * step
