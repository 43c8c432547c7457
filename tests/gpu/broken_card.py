"""The GPU child on a real card whose memory goes away before the first search."""

from __future__ import annotations

import sys

from core.domain.faces import Embeddings
from core.store.tiers.faiss.gpu.card import CardPart, Found
from core.store.tiers.faiss.gpu.child import run


class BrokenPart(CardPart):
    proven = False

    def search(self, probes: Embeddings, k: int) -> Found:
        if self.proven:
            self._address += 1 << 50
        self.proven = True
        return super().search(probes, k)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], BrokenPart))
