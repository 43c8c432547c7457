"""Work that goes on behind the pages: one piece at a time, with progress, cancel, and an end that is told."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from core.domain.errors import Busy, Conflict, RobiError, Unavailable

logger = logging.getLogger("robi.background")

CLOSING_S = 10.0
ETA_FROM = 0.05  # of the way; before, nothing can be told

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    share: float  # 0..1
    doing: str  # for the screen
    eta_s: float | None = None  # None until it can be told


class Cancelled(Conflict):
    """Somebody ended it."""

    def __init__(self) -> None:
        super().__init__("cancelled", "It was cancelled; nothing of it is kept.", "Start it again.")


class Background:
    """Owns the thread; safe to call from any other. Nothing but `close` waits.

    What comes out is only in the future that `start` returns: it lives as long as somebody holds that.
    """

    def __init__(self, called: str) -> None:
        """`called` is what people call the work: "comparison"."""
        self._called = called
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._started = 0.0
        self._at: tuple[float, str] | None = None  # None while nothing runs
        self._problem: RobiError | None = None
        self._closed = False

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Begin. The future ends with what `work` returns, or with a RobiError, whatever happens.

        Raises:
            Busy: `busy`, something runs. Unavailable: Robi is closing, or there are no more threads.
        """
        ending: Future[T] = Future()
        with self._guard:
            if self._closed:
                raise Unavailable("search_unavailable", "Robi is shutting down.")
            if self._at is not None:
                raise Busy("busy", f"A {self._called} is running already.", "Wait for it, or cancel it.")
            self._stop.clear()
            self._problem = None
            thread = threading.Thread(
                target=self._run, args=(work, ending), name=f"robi-{self._called}", daemon=True
            )
            self._at, self._started = (0.0, "Starting"), time.monotonic()
            try:
                thread.start()
            except RuntimeError:  # the machine has no more threads
                self._at = None
                raise Unavailable(
                    "not_enough_memory", "There is no room for another thread.", "Try again in a moment."
                ) from None
            self._thread = thread
        return ending

    def tell(self, share: float, doing: str) -> None:
        """For the work: how far it is."""
        self._at = (share, doing)

    def wait(self, seconds: float) -> bool:
        """For the work: rest, and whether it was cancelled, which ends the rest."""
        return self._stop.wait(seconds)

    @property
    def cancelled(self) -> bool:
        return self._stop.is_set()

    def progress(self) -> Progress | None:
        """None while nothing runs; what ran has ended then, and its future says how."""
        with self._guard:
            now = self._at
        if now is None:
            return None
        share, doing = now
        if self.cancelled:
            return Progress(share, "Ending")
        spent = time.monotonic() - self._started
        return Progress(share, doing, spent * (1 - share) / share if share >= ETA_FROM else None)

    def problem(self) -> RobiError | None:
        """Why the last start came to nothing (also `cancelled`); None when it did not."""
        return self._problem

    def cancel(self) -> None:
        """End what runs; does nothing when nothing does."""
        self._stop.set()

    def close(self) -> None:
        """End what runs and wait a moment for it; nothing starts any more. May be called twice."""
        with self._guard:
            self._closed = True
            thread = self._thread
        self.cancel()
        if thread is not None:
            thread.join(CLOSING_S)

    def _run(self, work: Callable[[], T], ending: Future[T]) -> None:
        try:
            made = work()
        except Exception as raised:  # noqa: BLE001  somebody waits for the end, whatever it is
            problem = self._failed(raised)
            with self._guard:
                self._at, self._problem = None, problem
                ending.set_exception(problem)
        else:
            with self._guard:
                self._at = None
                ending.set_result(made)

    def _failed(self, problem: Exception) -> RobiError:
        """In words, and without the frames of the work: they hold what it worked on."""
        if isinstance(problem, RobiError):
            said = problem
        elif isinstance(problem, MemoryError):
            said = Unavailable("not_enough_memory", "There is not enough memory for it.", "Ask for less.")
        else:
            logger.error("a %s failed", self._called, exc_info=problem)
            said = RobiError(
                "internal_error",
                f"The {self._called} failed.",
                "The server's log says more. Try again.",
            )
        said.__traceback__ = said.__context__ = said.__cause__ = None
        return said
