"""How work that takes long reports its progress, and how it is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.runtime.background import Cancelled, Progress

_PAUSE_S = 0.0002  # between steps: hands the interpreter lock to waiting searches at once, not after 5 ms

Step = Callable[[float], None]
"""Called often with the share done, 0..1; raises to stop the work."""


def nothing(_share: float) -> None:
    """A step that nobody watches."""


class ProgressWatch:
    """Turns the steps of several parts into one progress, and a wish to stop into the error that stops."""

    def __init__(
        self,
        progress: Callable[[Progress], None] = lambda _progress: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._progress = progress
        self._cancelled = cancelled

    def within(self, low: float, high: float) -> ProgressWatch:
        """For work that is a part of more, from `low` to `high` of it."""

        def progress(inner: Progress) -> None:
            self._progress(Progress(low + (high - low) * inner.share, inner.doing))

        return ProgressWatch(progress, self._cancelled)

    def part(self, low: float, high: float, doing: str) -> Step:
        """The steps of the part that takes the progress from `low` to `high`.

        Each raises Conflict: cancelled, once that is wished.
        """

        def step(share: float) -> None:
            time.sleep(_PAUSE_S)
            if self._cancelled():
                raise Cancelled()
            self._progress(Progress(low + (high - low) * min(max(share, 0.0), 1.0), doing))

        return step
