"""The thread that looks at gauges every few seconds, and writes to the ledger once a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from core.domain.errors import RobiError
from core.domain.json_values import Json
from core.ledger.history import MINUTE, History
from core.metrics.gauges import GaugeKey
from core.metrics.measured import Measured, from_json, to_json
from core.metrics.metrics import Metrics
from core.metrics.recent import STEP_S, STEPS

logger = logging.getLogger("robi.history")

WRITE_S = 60.0
WAITING = 240  # minutes that wait while the ledger cannot be written; the oldest are dropped beyond
CLOSE_S = 5.0
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError)


class Recorder:
    """Nothing it does raises: what cannot be written waits, what cannot be looked at is left out."""

    def __init__(
        self,
        history: History,
        metrics: Metrics,
        look: Callable[[], Mapping[GaugeKey, float]],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`look` gives the gauges as they stand; it may raise a RobiError."""
        self._history = history
        self._metrics = metrics
        self._look = look
        self._wall = wall
        self._lock = threading.Lock()  # of what waits
        self._waiting: dict[int, Measured] = {}  # by the start of the minute
        self._version = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="robi-history", daemon=True)

    @property
    def version(self) -> int:
        """Grows with each write: rows read before may have changed."""
        return self._version

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Write what waits, if the ledger can; may be called twice, and without a start."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_S)
        if not self._thread.is_alive():
            self.write(unfinished=True)

    def recall(self) -> None:
        """Bring back the last minutes before a restart, if the ledger has them."""
        now = int(self._wall())
        since = int(now - STEP_S * STEPS)
        rows = [(float(start), float(MINUTE), measured) for start, measured in self.read(MINUTE, since, now)]
        self._metrics.remember(rows)

    def look(self) -> None:
        """Note how the gauges stand."""
        try:
            self._metrics.gauges(self._look())
        except RobiError as problem:
            logger.debug("not looked at: %s", problem.code)
        except Exception:  # a recorder that dies would end the history
            logger.exception("looking at the gauges failed")

    def write(self, *, unfinished: bool = False) -> bool:
        """Move what was measured into the ledger; False when it has to wait. With `unfinished` also what is
        being measured now: nothing more may come."""
        with self._lock:
            self._collect(self._metrics.untaken() if unfinished else self._metrics.take())
            if not self._waiting:
                return True
            rows = {start: to_json(measured) for start, measured in self._waiting.items()}
            try:
                self._history.add(rows, merged, int(self._wall()))
            except RobiError as problem:
                logger.debug("%d minutes wait: %s", len(rows), problem.code)
                return False
            except Exception:
                logger.exception("%d minutes could not be written", len(rows))
            self._waiting = {}
            self._version += 1
            return True

    def waiting(self) -> tuple[int, list[tuple[float, Measured]]]:
        """The version, and copies of what the ledger has not yet, as (start by the wall clock, measured)."""
        with self._lock:
            held = [(float(start), _copy(measured)) for start, measured in self._waiting.items()]
            return self._version, held + self._metrics.untaken()

    def read(self, length: int, since: int, until: int) -> list[tuple[int, Measured]]:
        """Rows of the ledger, oldest first; none when it cannot be read."""
        try:
            rows = self._history.read(length, since, until)
        except RobiError as problem:
            logger.debug("the history cannot be read: %s", problem.code)
            return []
        found = []
        for start, kept in rows:
            try:
                found.append((start, from_json(kept)))
            except _MALFORMED:
                logger.debug("a row of the history at %d is not readable", start)
        return found

    def _run(self) -> None:
        self.recall()
        written = time.monotonic()
        while not self._closing.wait(STEP_S):
            self.look()
            if time.monotonic() - written >= WRITE_S:
                written = time.monotonic()
                self.write()

    def _collect(self, steps: list[tuple[float, Measured]]) -> None:
        for start, measured in steps:
            minute = int(start) - int(start) % MINUTE
            self._waiting.setdefault(minute, Measured()).add(measured)
        while len(self._waiting) > WAITING:
            del self._waiting[min(self._waiting)]


def merged(kept: Json, new: Json) -> Json:
    """Both of two measured values as JSON. One that cannot be read is replaced by the other."""
    try:
        total = from_json(kept)
    except _MALFORMED:
        return new
    total.add(from_json(new))
    return to_json(total)


def _copy(measured: Measured) -> Measured:
    copied = Measured()
    copied.add(measured)
    return copied
