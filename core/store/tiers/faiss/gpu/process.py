"""A GPU child process seen from the parent: its card, and requests with deadlines."""

from __future__ import annotations

import logging
import mmap
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.runtime.child_process import ChildGone, ChildProcess
from core.store.tiers.faiss.candidate_index import GpuUnavailable
from core.store.tiers.faiss.gpu.card import Card

logger = logging.getLogger("robi.store.faiss")

CHILD = "core.store.tiers.faiss.gpu.child"

START_SECONDS = 60.0  # CUDA and FAISS load in a few; the first time after an installation takes longest
REQUEST_SECONDS = 10.0  # a search of ten million takes milliseconds; who is silent for this long is lost
END_SECONDS = 5.0
CHUNK_BYTES = 32 << 20  # of rows handed over at a time


class GpuProcess(ChildProcess):
    """One child with its part of the gallery on one GPU. Not thread-safe; `ask` and `answer` alternate."""

    def __init__(self, device: int, dimension: int, module: str = CHILD) -> None:
        """Raises GpuUnavailable."""
        self._device = device
        try:
            self._start(module, dimension)
        except OSError as problem:
            why = problem.strerror or type(problem).__name__
            raise GpuUnavailable(f"No process for GPU {device} can be started: {why}.") from None
        self.card: Card = self._answer(START_SECONDS)

    def _start(self, module: str, dimension: int) -> None:
        shared = os.memfd_create("rows")
        try:
            os.ftruncate(shared, CHUNK_BYTES)
            self._shared = np.frombuffer(mmap.mmap(shared, CHUNK_BYTES), np.uint16)
            super().__init__(module, self._device, dimension, shared=[shared], log=logger, called="gpu index")
        finally:
            os.close(shared)

    def look(self) -> None:
        """Bring `card.free` up to date. Raises GpuUnavailable."""
        self.card = self.request("describe")

    def add(self, rows: NDArray[np.uint16]) -> None:
        """Hand over rows of at most CHUNK_BYTES, in memory that both see. Raises GpuUnavailable."""
        self._shared[: rows.size] = rows.reshape(-1)
        self.request("add", len(rows))

    def request(self, *message: object) -> Any:
        """Send one request and return its answer. Raises GpuUnavailable."""
        self.ask(*message)
        return self.answer()

    def ask(self, *message: object) -> None:
        """Send a request; its `answer` is taken later. Raises GpuUnavailable."""
        try:
            self.post(*message, seconds=REQUEST_SECONDS)
        except ChildGone as problem:
            raise self._lost(problem) from None

    def answer(self) -> Any:
        """The answer to the request sent last.

        Raises:
            GpuUnavailable: the card is full, FAISS refused, ended or fell silent. The child is dead by then.
        """
        return self._answer(REQUEST_SECONDS)

    def _answer(self, seconds: float) -> Any:
        try:
            status, answer = self.take(seconds)
        except ChildGone as problem:
            raise self._lost(problem) from None
        if status == "ok":
            return answer
        self.kill()
        if status == "full":
            raise GpuUnavailable(f"The memory of GPU {self._device} is full.")
        raise GpuUnavailable(answer if status == "none" else f"GPU {self._device} refused: {answer}.")

    def close(self) -> None:
        """Hang up, upon which the child ends; may be called twice."""
        self.end(END_SECONDS)

    def _lost(self, problem: ChildGone) -> GpuUnavailable:
        what = "does not answer any more" if problem.silent else "was lost, or FAISS failed on it"
        return GpuUnavailable(f"GPU {self._device} {what}; the log says more.")
