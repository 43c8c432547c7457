"""The newest real probes, for comparing strategies on them: in memory only, and only where asked for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

from core.domain.faces import Embedding, Embeddings
from core.domain.search import Decision, SearchResult


class RecentProbes:
    """Thread-safe. Holds at most `most` probes, never on disk; with 0 it holds none and costs nothing."""

    def __init__(self, most: int, dimension: int) -> None:
        self._dimension = dimension
        self._lock = threading.Lock()
        self._probes: deque[tuple[Embedding, str | None]] = deque(maxlen=most)

    def __len__(self) -> int:
        return len(self._probes)

    def note(self, probes: Embeddings, results: Sequence[SearchResult]) -> None:
        """Remember probes, each with who was proposed for it, if anybody."""
        if not self._probes.maxlen:
            return
        with self._lock:
            for probe, result in zip(probes, results, strict=True):
                best = result.best if result.decision is not Decision.UNKNOWN else None
                self._probes.append((probe.copy(), best.user_id if best else None))

    def newest(self, count: int) -> Embeddings:
        """At most `count`, newest first, shape (n, dimension)."""
        with self._lock:
            vectors = [vector for vector, _ in self._probes]
        rows = vectors[::-1][:count]
        return np.stack(rows) if rows else np.empty((0, self._dimension), np.float32)

    def rename(self, user_id: str, into: str) -> None:
        """They turned out to be one person."""
        with self._lock:
            kept = [(probe, into if who == user_id else who) for probe, who in self._probes]
            self._probes.clear()
            self._probes.extend(kept)

    def forget(self, user_id: str) -> None:
        """Drop the probes for which this person was proposed."""
        with self._lock:
            kept = [entry for entry in self._probes if entry[1] != user_id]
            self._probes.clear()
            self._probes.extend(kept)
