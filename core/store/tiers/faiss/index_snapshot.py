"""One consistent look at the hot tier: a search needs nothing else, and no lock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from core.config.settings import IndexType
from core.domain.faces import Embeddings
from core.domain.search import Hit
from core.store.tiers.faiss.candidate_index import NOWHERE, Built, CandidateIndex, IndexOptions, Places
from core.store.tiers.faiss.cpu import selector
from core.store.tiers.faiss.index import kind_for, notes_of
from core.store.tiers.faiss.vector_table import VectorTable

Similarities = NDArray[np.float32]
Found = tuple[Similarities, Places]

faiss_any: Any = faiss  # its type stubs lack a function
FEWEST_CANDIDATES = 100  # compared exactly, however few are asked for
# One more for so many rows: a stranger's nearest stands out less the more people there are. Of 1000 strangers
# to a million templates of 128 numbers PQfs lost the nearest of 35 with 100 candidates, of 2 with 1000, in
# 1.9 instead of 1.5 ms.
ROWS_PER_CANDIDATE = 1000
DEEPER = 4  # times as many candidates when too many of them turned out to be dead


@dataclass(frozen=True, slots=True, eq=False)
class Sealed:
    """An index over the first `rows` rows, a multiple of 8; it is never touched while it serves."""

    built: Built
    rows: int
    trained_on: int
    setting: IndexType = "auto"  # that asked for it

    def probing(self, options: IndexOptions) -> Sealed:
        """This one, looking into as many lists as `options` say; and saying what they cannot have yet."""
        if self.built.index is None:
            if kind_for(options.setting, self.trained_on) != "Flat":
                return self
            return replace(self, built=replace(self.built, notes=notes_of("Flat", options, self.trained_on)))
        index = self.built.index.probing(options.nprobe)
        if index is self.built.index:
            return self
        notes = notes_of(self.setting, options, self.trained_on)
        return replace(self, built=replace(self.built, index=index, notes=notes))


UNSEALED = Sealed(Built(None), 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class IndexSnapshot:
    """The first `used` rows: an index proposes among those that are sealed, the tail is compared exactly."""

    rows: VectorTable
    used: int
    sealed: Sealed = UNSEALED
    complete: bool = False
    """Whether every template of the ledger is among the rows, as of the tier's `seq`."""

    @property
    def index(self) -> CandidateIndex | None:
        return self.sealed.built.index

    @property
    def kind(self) -> str:
        return "Flat" if self.index is None else self.index.kind

    @property
    def settles(self) -> bool:
        """Whether its answer is the whole gallery's: all is held, and a search looks at every row."""
        return self.complete and (self.index is None or self.index.thorough)

    @property
    def one_thread(self) -> bool:
        """Whether searches take turns anyway, on a GPU, so that callers do better to share batches."""
        return self.index is not None and self.index.one_thread

    @property
    def memory_bytes(self) -> int:
        return self.rows.memory_bytes + (0 if self.index is None else self.index.memory_bytes)

    def grown(self, rows: VectorTable) -> IndexSnapshot:
        """With more rows in use: of the same, or of a longer copy with everything in its place."""
        return replace(self, rows=rows, used=rows.used)

    def probing(self, options: IndexOptions) -> IndexSnapshot:
        """See `Sealed.probing`."""
        return replace(self, sealed=self.sealed.probing(options))

    def without(self, index: CandidateIndex | None) -> IndexSnapshot:
        """Without this index, if it still has it: all rows are scanned exactly then."""
        return replace(self, sealed=UNSEALED) if self.index is index else self

    def search(self, probes: Embeddings, limit: int) -> list[list[Hit]]:
        """The `limit` most similar templates per probe by their float32 vectors, best first.

        Raises:
            RuntimeError, MemoryError: the index could not.
        """
        probes = np.ascontiguousarray(probes)
        parts: list[Found] = []
        sealed = self.sealed.rows
        if self.index is not None and sealed:
            parts.append(self._proposed(self.index, probes, limit))
        if self.used > sealed:
            parts.append(self._tail(probes, limit))
        if not parts:
            return [[] for _ in probes]
        similarities, places = parts[0] if len(parts) == 1 else _side_by_side(*parts)
        return self._hits(similarities, places, limit)

    def _proposed(self, index: CandidateIndex, probes: Embeddings, limit: int) -> Found:
        sealed = self.sealed.rows
        wanted = candidates(limit * index.spread, sealed)
        alive = self.rows.alive if self.rows.dead else None
        while True:
            places = index.search(probes, wanted, alive)
            places[places >= sealed] = NOWHERE  # rows of the tail, if the index was extended meanwhile
            if alive is None:
                break
            living = self.rows.are_alive(places)
            places[~living] = NOWHERE
            if wanted == sealed or int(np.count_nonzero(living, axis=1).min()) >= limit:
                break
            wanted = min(DEEPER * wanted, sealed)
        return self._exactly(probes, places), places

    def _exactly(self, probes: Embeddings, places: Places) -> Similarities:
        similarities = np.empty(places.shape, np.float32)
        faiss_any.fvec_inner_products_by_idx(  # minus infinity for NOWHERE
            faiss.swig_ptr(similarities),
            faiss.swig_ptr(probes),
            faiss.swig_ptr(self.rows.vectors),
            faiss.swig_ptr(places),
            probes.shape[1],
            *places.shape,
        )
        return similarities

    def _tail(self, probes: Embeddings, limit: int) -> Found:
        sealed = self.sealed.rows
        vectors = self.rows.vectors[sealed : self.used]
        limit = min(limit, len(vectors))
        similarities = np.empty((len(probes), limit), np.float32)
        places = np.empty((len(probes), limit), np.int64)
        chosen: list[Any] = []
        if self.rows.dead:
            chosen = [selector(self.rows.alive[sealed >> 3 :], len(vectors))]
        faiss.knn_inner_product(
            faiss.swig_ptr(probes),
            faiss.swig_ptr(vectors),
            probes.shape[1],
            len(probes),
            len(vectors),
            limit,
            faiss.swig_ptr(similarities),
            faiss.swig_ptr(places),
            *chosen,
        )
        similarities[places == NOWHERE] = -np.inf
        return similarities, np.where(places == NOWHERE, NOWHERE, places + sealed)

    def _hits(self, similarities: Similarities, places: Places, limit: int) -> list[list[Hit]]:
        order = (-similarities).argsort(axis=1)[:, :limit]
        row = np.arange(len(order))[:, None]
        ids, similarities = self.rows.ids[places[row, order]], similarities[row, order]
        return [_named(*pair) for pair in zip(ids.tolist(), similarities.tolist(), strict=True)]


def _named(ids: list[int], similarities: list[float]) -> list[Hit]:
    """Without what is nowhere, which comes last and is infinitely different."""
    found = len(ids) - similarities.count(-np.inf)
    return list(map(Hit, ids[:found], similarities[:found]))


def candidates(wanted: int, rows: int) -> int:
    """How many to compare exactly, when as many are `wanted` at least."""
    return min(max(wanted, FEWEST_CANDIDATES, rows // ROWS_PER_CANDIDATE), rows)


def _side_by_side(one: Found, other: Found) -> Found:
    return np.hstack([one[0], other[0]]), np.hstack([one[1], other[1]])
