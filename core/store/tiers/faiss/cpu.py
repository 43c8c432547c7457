"""A FAISS index in main memory."""

from __future__ import annotations

from typing import Any

import faiss

from core.domain.faces import Embeddings
from core.store.tiers.faiss.candidate_index import Bitmap, Places


class OnCpu:
    """A compressed FAISS index in main memory."""

    one_thread = False
    in_place = False

    def __init__(self, kind: str, index: Any, *, spread: int, nprobe: int = 0, masks: bool = True) -> None:
        self.kind = kind
        self.spread = spread
        self.thorough = nprobe == 0
        self.faiss_index = index
        self.nprobe = nprobe
        self._masks = masks  # whether FAISS can leave out dead rows itself

    @property
    def size(self) -> int:
        return int(self.faiss_index.ntotal)

    @property
    def memory_bytes(self) -> int:
        return int(self.faiss_index.ntotal * self.faiss_index.sa_code_size())

    def search(self, probes: Embeddings, wanted: int, alive: Bitmap | None) -> Places:
        places: Places = self.faiss_index.search(probes, wanted, params=self._parameters(alive))[1]
        return places

    def extended(self, vectors: Embeddings) -> OnCpu:
        longer = faiss.clone_index(self.faiss_index)
        longer.add(vectors)
        return OnCpu(self.kind, longer, spread=self.spread, nprobe=self.nprobe, masks=self._masks)

    def probing(self, nprobe: int) -> OnCpu:
        nprobe = min(nprobe, int(self.faiss_index.nlist)) if self.nprobe else 0
        if nprobe == self.nprobe:
            return self
        return OnCpu(self.kind, self.faiss_index, spread=self.spread, nprobe=nprobe, masks=self._masks)

    def _parameters(self, alive: Bitmap | None) -> Any:
        chosen: dict[str, Any] = {}
        if alive is not None and self._masks:
            chosen["sel"] = selector(alive, self.faiss_index.ntotal)
        if self.nprobe:
            chosen["nprobe"] = self.nprobe
        kind: Any = faiss.SearchParametersIVF if self.nprobe else faiss.SearchParameters
        return kind(**chosen) if chosen else None  # PQfs refuses any


def selector(alive: Bitmap, size: int) -> Any:
    """FAISS's view of a bitmap of living rows."""
    chosen: Any = faiss.IDSelectorBitmap(size, faiss.swig_ptr(alive))
    chosen.keep_alive = alive  # FAISS keeps a bare pointer
    return chosen
