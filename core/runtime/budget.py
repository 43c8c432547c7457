"""What all requests together may take of the machine's memory, however many there are at once."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from core.domain.errors import Busy

_SHARE = 1 / 8  # of the machine's memory
_BYTES_A_PIXEL = 8  # while a picture is decoded: four as in the file, three as used, and strips


class Budget:
    """So many units, for whoever takes them first. Nobody waits: a queue of uploads is memory too."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._taken = 0

    @property
    def taken(self) -> int:
        with self._lock:
            return self._taken

    def take(self, units: int) -> None:
        """Whoever is alone may take more than there is, or a small machine could do nothing.

        Raises:
            Busy: `busy`, nothing is taken then.
        """
        with self._lock:
            if self._taken and self._taken + units > self.most:
                raise Busy("busy", "Robi is busy with other pictures.", "Try again in a second.")
            self._taken += units

    def give_back(self, units: int) -> None:
        with self._lock:
            self._taken -= units

    @contextmanager
    def held(self, units: int) -> Iterator[None]:
        """
        Raises:
            Busy: `busy`.
        """
        self.take(units)
        try:
            yield
        finally:
            self.give_back(units)


def give_memory_back() -> None:
    """Let the C library return what is free to the system; it keeps it otherwise, as much as the
    largest work took. Does nothing where that cannot be asked for."""
    trim = getattr(_LIBC, "malloc_trim", None)
    if trim is not None:
        trim(0)


_LIBC = ctypes.CDLL(None)


_memory = psutil.virtual_memory().total
PIXELS = Budget(int(_memory * _SHARE / _BYTES_A_PIXEL))
"""Of pictures that are being decoded."""
BODIES = Budget(max(256_000_000, _memory // 32))
"""Bytes of requests that have been announced or have arrived, and are not answered yet."""
