"""What a camera that verifies and one that enrolls have in common."""

from __future__ import annotations

import math
import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core.domain.errors import RobiError
from core.domain.faces import Box, Image
from core.services.service import RobiService

_CONNECTED_S = 3.0  # without a frame for longer, the camera counts as gone


class LiveSession(ABC):
    """One camera: what both kinds of session share. `process` is called by one thread at a time."""

    def __init__(self, service: RobiService) -> None:
        self.token = secrets.token_urlsafe(24)
        self.service = service
        self._lock = threading.Lock()
        self._answered_at = -math.inf
        self._touched = time.monotonic()
        self._sockets = 0
        self._error: RobiError | None = None

    def process(self, jpeg: bytes) -> dict[str, Any]:
        """Answer one frame, JSON-ready. What is wrong with a frame is the answer, not an exception."""
        try:
            answer = self._answer(self.service.pictures.decode(jpeg))
        except RobiError as problem:
            self.service.metrics.error(problem.code)
            with self._lock:
                self._error = problem
            return {"type": "error", "code": problem.code, "message": problem.message, "hint": problem.hint}
        with self._lock:
            self._error = None
            self._answered_at = time.monotonic()
        return answer

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Counts a browser's socket as open for as long as this lasts."""
        with self._lock:
            self._sockets += 1
        try:
            yield
        finally:
            with self._lock:
                self._sockets -= 1
                self._touched = time.monotonic()

    @property
    def is_connected(self) -> bool:
        with self._lock:
            return self._sockets > 0

    def holds_work(self) -> bool:
        """Whether closing it now would lose work, such as photos that were taken."""
        return False

    def idle_s(self) -> float:
        """Seconds since a frame was answered, a page looked or its socket closed; 0 while one is open."""
        with self._lock:
            if self._sockets:
                return 0.0
            return time.monotonic() - max(self._answered_at, self._touched)

    @abstractmethod
    def _answer(self, image: Image) -> dict[str, Any]: ...

    def _look(self) -> bool:
        """Whether frames are coming. The lock is held."""
        self._touched = time.monotonic()
        return self._touched - self._answered_at <= _CONNECTED_S


def relative(box: Box, width: int, height: int) -> list[float]:
    """A box as x, y, width and height in shares of the picture."""
    x, y = box.x1 / width, box.y1 / height
    return [round(v, 4) for v in (x, y, box.width / width, box.height / height)]
