"""The GPU child with numpy in place of a card, for machines that have none: same process, same protocol.

Run as `python -m tests.unit.store.gpu_double SOCKET MEMORY DEVICE DIMENSION`. In the environment,
GPU_DOUBLE_BYTES is the card's memory, GPU_DOUBLE_CARDS how many cards there are.
"""

from __future__ import annotations

import os
import sys

import numpy as np

from core.domain.faces import Embeddings
from core.store.tiers.faiss.gpu.card import HALF, Card, Found, Halves, highest
from core.store.tiers.faiss.gpu.child import run
from core.store.tiers.faiss.gpu.driver import CardFull, NoCard


class NumpyPart:
    def __init__(self, device: int, dimension: int) -> None:
        cards = int(os.environ.get("GPU_DOUBLE_CARDS", "1"))
        if device >= cards:
            raise NoCard(f"There is no GPU {device}; {cards} found, numbered from 0.")
        self._cards = cards
        self._memory = int(os.environ.get("GPU_DOUBLE_BYTES", str(8 << 30)))
        self._rows = np.empty((0, dimension), np.float16)

    def describe(self) -> Card:
        return Card("Numpy", self._cards, self._memory - self._rows.nbytes, self._memory, "fp16")

    def reserve(self, rows: int) -> None:
        if rows * self._rows.shape[1] * HALF > self._memory:
            raise CardFull("out of memory")

    def add(self, rows: Halves) -> None:
        self.reserve(len(self._rows) + len(rows))
        self._rows = np.concatenate([self._rows, rows.view(np.float16)])

    def search(self, probes: Embeddings, k: int) -> Found:
        similarities = probes.astype(np.float16).astype(np.float32) @ self._rows.T.astype(np.float32)
        return highest(similarities, k)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], NumpyPart))
