"""When a new generation of the Edge engine's data is worth a look, after builds that went well or badly."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from core.domain.errors import RobiError
from core.store.tiers.edge.builder import BuildCancelled

logger = logging.getLogger("robi.store.edge")

LOOK_SECONDS = 5.0  # between looks: erasures of that time need one build only
RESTS = 9  # times as long as a build took, nothing is built: one after the other would slow down searches
FIRST_PAUSE = 60.0  # after a build that failed, doubled each time
LONGEST_PAUSE = 3600.0


class BuildSchedule:
    """Of builds that nobody asked for; one at a time."""

    def __init__(self, closed: Callable[[], bool]) -> None:
        """`closed`: whether Robi is closing, so that no failure is worth a word."""
        self.failures = 0  # in a row
        self._closed = closed
        self._next_look = 0.0

    def look(self) -> bool:
        """Whether it is time to look; if so, the next time is a little later."""
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + LOOK_SECONDS
        return True

    def attempt(self, build: Callable[[], None]) -> None:
        """Build, and rest; whatever comes of it, the present generation goes on."""
        started = time.monotonic()
        try:
            build()
            now = time.monotonic()
            self.failures = 0
            self._next_look = now + max(LOOK_SECONDS, min(RESTS * (now - started), LONGEST_PAUSE))
        except BuildCancelled:
            logger.info("a new generation of the Edge engine was given up: Robi is closing")
        except RobiError as problem:
            self._pause(problem.message)
        except Exception:
            logger.exception("building a new generation of the Edge engine failed")
            self._pause("unexpected")

    def _pause(self, reason: str) -> None:
        seconds = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self.failures, 10))
        self.failures += 1
        self._next_look = time.monotonic() + seconds
        if not self._closed():
            logger.warning("no new generation of the Edge engine, next try in %.0f s: %s", seconds, reason)
