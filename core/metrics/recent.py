"""The last quarter of an hour, in steps of five seconds, by the monotonic clock: nobody can set that back."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from core.metrics.figures import Summary
from core.metrics.measured import Measured
from core.metrics.series import Point, summary

STEP_S = 5.0
STEPS = 180  # 15 minutes


@dataclass(slots=True)
class _Step:
    started: float  # monotonic
    begun: float  # when measuring began: later than `started` in the first one
    seconds: float
    measured: Measured
    closed: bool = False
    summary: Summary | None = None

    def summarised(self) -> Summary:
        if self.summary is not None:
            return self.summary
        found = summary(self.measured)
        if self.closed:
            self.summary = found
        return found


class Recent:
    """Not thread-safe: the owner holds a lock. `now` is the monotonic clock's, in seconds."""

    def __init__(self, now: float) -> None:
        self._steps: deque[_Step] = deque([_Step(_floor(now), now, STEP_S, Measured())], maxlen=STEPS)
        self._fresh: deque[_Step] = deque(maxlen=STEPS)
        self._before = Measured()  # everything before the present step

    def present(self, now: float) -> Measured:
        """What is being measured; closes the steps that have ended, also those in which nothing happened."""
        last = self._steps[-1]
        if now - last.started >= STEP_S:
            self._go_on(last, _floor(now))
            last = self._steps[-1]
        last.measured.observed = now - last.begun
        return last.measured

    def points(self, now: float, wall: float, seconds: float) -> list[Point]:
        """The steps of the last `seconds`, oldest first; their times by the wall clock as it stands now."""
        self.present(now)
        offset = wall - now
        return [
            Point(step.started + offset, step.seconds, step.measured, step.summarised())
            for step in self._steps
            if step.started + step.seconds > now - seconds
        ]

    def total(self, now: float) -> Measured:
        """Everything since the start."""
        total = Measured()
        present = self.present(now)
        total.add(self._before)
        total.add(present)
        return total

    def take(self, now: float, wall: float) -> list[tuple[float, Measured]]:
        """The steps that have ended and were not taken before, with their times by the wall clock."""
        self.present(now)
        offset, taken = wall - now, []
        while self._fresh:
            step = self._fresh.popleft()
            taken.append((step.started + offset, step.measured))
        return taken

    def untaken(self, now: float, wall: float) -> list[tuple[float, Measured]]:
        """What `take` will give, and the present step."""
        self.present(now)
        offset = wall - now
        return [(step.started + offset, step.measured) for step in (*self._fresh, self._steps[-1])]

    def remember(self, rows: Sequence[tuple[float, float, Measured]], now: float, wall: float) -> None:
        """Put what an earlier process measured, as (wall clock, seconds, measured), before all steps."""
        first = self._steps[0].started
        for start, seconds, measured in reversed(rows):
            started = start + now - wall
            if started < first and len(self._steps) < STEPS:
                self._steps.appendleft(_Step(started, started, seconds, measured, closed=True))

    def _go_on(self, last: _Step, start: float) -> None:
        last.measured.observed = last.seconds - (last.begun - last.started)
        self._close(last)
        missing = min(round((start - last.started) / STEP_S), STEPS)
        for back in range(missing - 1, -1, -1):
            started = start - back * STEP_S
            step = _Step(started, started, STEP_S, Measured())
            self._steps.append(step)
            if back:
                step.measured.observed = STEP_S
                self._close(step)

    def _close(self, step: _Step) -> None:
        step.closed = True
        self._before.add(step.measured)
        self._fresh.append(step)


def _floor(now: float) -> float:
    return now - now % STEP_S
