"""Whether the GPU that is to be used can be, and when it is worth another try."""

from __future__ import annotations

from collections.abc import Callable

FIRST_PAUSE = 60.0  # seconds before a card that could not be used is tried again; each time twice as long,
LONGEST_PAUSE = 3600.0  # because a try starts a process, and may copy the gallery


class GpuUse:
    """Meanwhile the gallery is served like one that has no GPU: the card's pause holds up nothing else."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds, monotonic."""
        self._clock = clock
        self.missing: str | None = None
        """Why there is none, for operators."""
        self.lost = False
        """Whether it had been in service."""
        self._pause = FIRST_PAUSE
        self._again_at = 0.0

    @property
    def due(self) -> bool:
        """Whether a card may be tried now."""
        return self._clock() >= self._again_at

    def works(self) -> None:
        self.missing, self.lost = None, False
        self._pause = FIRST_PAUSE

    def refused(self, why: str) -> None:
        """The gallery could not be brought onto a card."""
        self.missing = why
        self._again_at = self._clock() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def failed(self, why: str) -> None:
        """A card failed in service; said by any number of searches at once."""
        self.missing, self.lost = why, True
        self._again_at = self._clock() + FIRST_PAUSE

    def note(self, *, missed: bool) -> str | None:
        """What operators should know while no card is in service; `missed`: one was asked for."""
        if missed:
            why = self.missing or "this kind of index runs on the CPU."
            return f"A GPU was asked for, but FAISS searches on the CPU: {why}"
        return f"FAISS searches on the CPU: {self.missing}" if self.lost else None
