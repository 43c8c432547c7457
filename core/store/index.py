"""The kinds of FAISS index that can stand over the hot tier's slots."""

from __future__ import annotations

from typing import Any, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from core.config import IndexType
from core.types import Embeddings

Slots = NDArray[np.int64]
Similarities = NDArray[np.float32]

FLAT_BELOW = 20_000  # an exact scan takes under half a millisecond there
FP16_UP_TO_DIMENSION = 256  # above it RaBitQ is three times as fast as SQfp16
POINTS_PER_LIST = 39  # what FAISS asks for to train an IVF list
FEWEST_LISTS = 16
FEWEST_FOR_IVF = POINTS_PER_LIST * FEWEST_LISTS
FEWEST_FOR_PQ = POINTS_PER_LIST * 256  # a code has 256 values
PQ_ITERATIONS = 6  # of k-means, instead of 25: candidates are compared exactly anyway


class CandidateIndex(Protocol):
    """Finds the slots worth a look. Not thread-safe; rows are added in slot order."""

    @property
    def kind(self) -> str: ...

    @property
    def exact(self) -> bool:
        """Whether the similarities are those of the float32 vectors."""
        ...

    @property
    def thorough(self) -> bool:
        """Whether a search looks at every slot; one that skips lists may miss the best."""
        ...

    def add(self, vectors: Embeddings) -> None: ...

    def search(
        self, probes: Embeddings, vectors: Embeddings, limit: int, alive: NDArray[np.uint8] | None
    ) -> tuple[Similarities, Slots]:
        """Arrays (n, limit), best first; slot -1 where there is nothing.

        `vectors` are the slots in use, `alive` their bitmap (None: all are).
        """
        ...


class FlatScan:
    """Exact; scans the slots themselves, so it needs no memory of its own."""

    kind = "Flat"
    exact = True
    thorough = True

    def add(self, vectors: Embeddings) -> None:
        """Nothing: the slots are the index."""

    def search(
        self, probes: Embeddings, vectors: Embeddings, limit: int, alive: NDArray[np.uint8] | None
    ) -> tuple[Similarities, Slots]:
        similarities = np.empty((len(probes), limit), np.float32)
        slots = np.empty((len(probes), limit), np.int64)
        selector = [] if alive is None else [_selector(alive, len(vectors))]
        faiss.knn_inner_product(
            faiss.swig_ptr(probes),
            faiss.swig_ptr(vectors),
            probes.shape[1],
            len(probes),
            len(vectors),
            limit,
            faiss.swig_ptr(similarities),
            faiss.swig_ptr(slots),
            *selector,
        )
        return similarities, slots


class Compressed:
    """A compressed FAISS index: proposes `spread` times as many slots, to be compared exactly afterwards."""

    exact = False

    def __init__(self, kind: str, recipe: str, sample: Embeddings, *, spread: int, nprobe: int = 0) -> None:
        self.kind = kind
        self._spread = spread
        self._nprobe = nprobe
        self.thorough = nprobe == 0
        self._index: Any = faiss.index_factory(sample.shape[1], recipe, faiss.METRIC_INNER_PRODUCT)
        if isinstance(self._index, faiss.IndexIVFPQ):
            self._index.pq.cp.niter = PQ_ITERATIONS
        self._index.train(sample)

    def add(self, vectors: Embeddings) -> None:
        self._index.add(vectors)

    def search(
        self, probes: Embeddings, vectors: Embeddings, limit: int, alive: NDArray[np.uint8] | None
    ) -> tuple[Similarities, Slots]:
        wanted = min(max(limit * self._spread, 100), len(vectors))
        chosen: dict[str, Any] = {} if alive is None else {"sel": _selector(alive, len(vectors))}
        if self._nprobe:
            chosen["nprobe"] = self._nprobe
        parameters: Any = (faiss.SearchParametersIVF if self._nprobe else faiss.SearchParameters)(**chosen)
        similarities, slots = self._index.search(probes, wanted, params=parameters)
        return similarities, slots


def fewest_for(setting: IndexType) -> int:
    """Templates that this kind of index needs for its training."""
    return {"IVF": FEWEST_FOR_IVF, "IVFPQ": FEWEST_FOR_PQ}.get(setting, 1)


def kind_for(setting: IndexType, size: int, dimension: int) -> IndexType:
    """The kind to use for `size` templates; an IVF that cannot be trained yet becomes Flat."""
    if setting != "auto":
        return setting if size >= fewest_for(setting) else "Flat"
    if size < FLAT_BELOW:
        return "Flat"
    return "SQfp16" if dimension <= FP16_UP_TO_DIMENSION else "RaBitQ"


def build(kind: IndexType, vectors: Embeddings, *, nlist: int, nprobe: int) -> CandidateIndex:
    """An index of this kind, trained on `vectors` and holding them."""
    lists = max(FEWEST_LISTS, min(nlist, len(vectors) // POINTS_PER_LIST))
    index: CandidateIndex
    if kind == "SQfp16":
        index = Compressed(kind, "SQfp16", vectors, spread=2)
    elif kind == "RaBitQ":
        index = Compressed(kind, "RaBitQ", vectors, spread=4)
    elif kind == "IVF":
        index = Compressed(f"IVF{lists}", f"IVF{lists},SQfp16", vectors, spread=2, nprobe=min(nprobe, lists))
    elif kind == "IVFPQ":
        recipe = f"IVF{lists},PQ{_subvectors(vectors.shape[1])}"
        index = Compressed(f"IVFPQ{lists}", recipe, vectors, spread=8, nprobe=min(nprobe, lists))
    else:
        index = FlatScan()
    index.add(vectors)
    return index


def _subvectors(dimension: int) -> int:
    """Of about four numbers each; PQ needs a divisor of the dimension."""
    return next(m for m in range(max(1, dimension // 4), 0, -1) if dimension % m == 0)


def _selector(alive: NDArray[np.uint8], size: int) -> Any:
    selector: Any = faiss.IDSelectorBitmap(size, faiss.swig_ptr(alive))
    selector.keep_alive = alive  # FAISS keeps a bare pointer
    return selector
