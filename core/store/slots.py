"""Numbered places for float32 vectors in memory, with a FAISS index over them.

Places are only ever appended; a dropped one is wiped and masked, and vanishes when the slots are built anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from core.store.index import CandidateIndex
from core.types import Embedding, Embeddings, Hit

NO_SLOT = -1


class Slots:
    """Searched from one thread while another adds and drops; one writer at a time."""

    def __init__(
        self,
        ids: NDArray[np.int64],
        vectors: Embeddings,
        room: int,
        make: Callable[[Embeddings], CandidateIndex],
    ) -> None:
        """`room` is how many places there are in all; untouched ones cost no memory."""
        self._used = len(ids)
        self._ids = np.empty(max(room, len(ids)), np.int64)
        self._vectors = np.empty((len(self._ids), vectors.shape[1]), np.float32)
        self._ids[: self._used] = ids
        self._vectors[: self._used] = vectors
        self._alive = np.full(-(-len(self._ids) // 8), 0xFF, np.uint8)
        self._place = {int(template_id): place for place, template_id in enumerate(ids)}
        self._index = make(self._vectors[: self._used])
        self._mutex = threading.Lock()

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, template_id: int) -> bool:
        return template_id in self._place

    @property
    def kind(self) -> str:
        return self._index.kind

    @property
    def thorough(self) -> bool:
        """Whether a search looks at every place."""
        return self._index.thorough

    @property
    def dead(self) -> int:
        return self._used - len(self._place)

    @property
    def free(self) -> int:
        return len(self._ids) - self._used

    def add(self, ids: Iterable[int], vectors: Embeddings) -> None:
        """Add templates that are not held yet; the caller has seen to it that there is room."""
        with self._mutex:
            start, end = self._used, self._used + len(vectors)
            self._ids[start:end] = list(ids)
            self._vectors[start:end] = vectors
            self._index.add(self._vectors[start:end])
            for place in range(start, end):
                self._place[int(self._ids[place])] = place
            self._used = end

    def drop(self, ids: Iterable[int]) -> None:
        """Drop what is held of these: the vector is wiped at once, its place is masked."""
        with self._mutex:
            for template_id in ids:
                place = self._place.pop(template_id, None)
                if place is not None:
                    self._alive[place >> 3] &= np.uint8(0xFF ^ (1 << (place & 7)))
                    self._vectors[place] = 0.0

    def vector(self, template_id: int) -> Embedding | None:
        place = self._place.get(template_id)
        return None if place is None else self._vectors[place].copy()

    def living(self) -> tuple[NDArray[np.int64], Embeddings]:
        """Copies of all ids and vectors held, in slot order."""
        places = np.fromiter(sorted(self._place.values()), np.int64, len(self._place))
        return self._ids[places], self._vectors[places]

    def search(self, probes: Embeddings, limit: int) -> list[list[Hit]]:
        """The `limit` most similar templates per probe by their float32 vectors, best first."""
        probes = np.ascontiguousarray(probes)
        with self._mutex:
            if not self._place:
                return [[] for _ in probes]
            limit = min(limit, len(self._place))
            vectors = self._vectors[: self._used]
            alive = self._alive if self.dead else None
            similarities, places = self._index.search(probes, vectors, limit, alive)
            if not self._index.exact:
                similarities, places = _rerank(probes, vectors, places, limit)
            ids = np.where(places == NO_SLOT, NO_SLOT, self._ids[places])
        return [
            [Hit(i, s) for i, s in zip(row_ids, row, strict=True) if i != NO_SLOT]
            for row_ids, row in zip(ids.tolist(), similarities.tolist(), strict=True)
        ]

    def held(self, ids: Collection[int]) -> dict[int, Embedding]:
        found = {template_id: self.vector(template_id) for template_id in ids}
        return {template_id: vector for template_id, vector in found.items() if vector is not None}


def _rerank(
    probes: Embeddings, vectors: Embeddings, places: NDArray[np.int64], limit: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    exact = np.einsum("nmd,nd->nm", vectors[places], probes)
    exact[places == NO_SLOT] = -np.inf
    order = np.argsort(-exact, axis=1)[:, :limit]
    return np.take_along_axis(exact, order, 1), np.take_along_axis(places, order, 1)
