"""The kinds of FAISS index that can stand over the hot tier's rows, and which of them to use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import faiss
import numpy as np

from core.config.settings import IndexType
from core.domain.faces import Embeddings
from core.store.tiers.faiss.candidate_index import Built, CandidateIndex, GpuUnavailable, IndexOptions
from core.store.tiers.faiss.cpu import OnCpu
from core.store.tiers.faiss.gpu import index as gpu

FLAT_BELOW = 5_000  # an exact scan takes a tenth to half a millisecond there
POINTS_PER_LIST = 39  # what FAISS asks for to train an IVF list
FEWEST_LISTS = 16
FEWEST = {  # templates that a kind needs for its training: FAISS asks for 39 per centroid
    "PQfs": POINTS_PER_LIST * 16,
    "IVF": POINTS_PER_LIST * FEWEST_LISTS,
    "IVFPQ": POINTS_PER_LIST * 256,
}
PQ_ITERATIONS = 6  # of k-means, instead of 25: candidates are compared exactly anyway
PQFS_SAMPLE = 4096  # what FAISS trains 16 centroids on at most
ADDED_AT_ONCE = 4096  # rows, between two looks at whether to go on


# Numbers (rows x dimension) from which a card answers one probe sooner than the CPU, where nobody asks for it
# by USE_GPU=true. On an H100 it took 0.86 ms up to 250k rows of 512 numbers. The CPU takes 0.44 ms for 100k
# such rows by PQfs, which `auto` means there, and as long as the card for 195k; by an exact scan 8.6 ms, and
# as long as the card for 10k.
GPU_FROM: Mapping[str, int] = {"auto": 100_000_000, "Flat": 5_000_000}


def kind_for(setting: IndexType, size: int) -> IndexType:
    """The kind to use for `size` templates on a CPU; one that cannot be trained yet becomes Flat.

    `auto` scans small galleries exactly and others by PQfs, four bits for two numbers. One query at 100k
    templates took, in milliseconds for 128 and 512 numbers, side by side: exact scan 2.0 and 8.6, SQfp16
    0.74 and 4.6, RaBitQ 0.88 and 1.5, RaBitQ FastScan 0.88 and 0.76, PQfs 0.15 and 0.44. With 100 candidates
    it named the exact best for each of 1000 known probes, and for 99 % of strangers (RaBitQ: 72 %).
    """
    if setting == "auto":
        return "Flat" if size < FLAT_BELOW else "PQfs"
    return setting if size >= FEWEST.get(setting, 1) else "Flat"


def on_gpu(options: IndexOptions, rows: int, dimension: int) -> bool:
    """Whether a GPU is tried: it serves the exact kinds, not those that were asked for by name."""
    if options.gpu is None or options.setting not in GPU_FROM:
        return False
    return options.gpu.required or rows * dimension >= GPU_FROM[options.setting]


def build(options: IndexOptions, vectors: Embeddings) -> Built:
    """The right index for these rows, on a GPU if there is one.

    Raises:
        MemoryError, RuntimeError: FAISS could not.
    """
    faiss.omp_set_num_threads(1)  # several get into each other's way on many small clusterings
    missing = None
    if on_gpu(options, *vectors.shape):
        try:
            return build_on_gpu(options, vectors)
        except GpuUnavailable as problem:
            missing = str(problem)
    kind = kind_for(options.setting, len(vectors))
    index = None if kind == "Flat" else _on_cpu(kind, options, vectors)
    return Built(index, kind in FEWEST, notes_of(kind, options, len(vectors)), missing)


def build_on_gpu(options: IndexOptions, vectors: Embeddings) -> Built:
    """Raises GpuUnavailable."""
    if options.gpu is None:
        raise GpuUnavailable("USE_GPU=false.")
    return Built(gpu.flat(vectors, options.gpu))


def _on_cpu(kind: IndexType, options: IndexOptions, vectors: Embeddings) -> CandidateIndex:
    dimension = vectors.shape[1]
    lists = _lists(options.nlist, len(vectors))
    nprobe = min(options.nprobe, lists)
    if kind == "PQfs":
        recipe = f"PQ{_parts(dimension, 2)}x4fs"
        return OnCpu(kind, _filled(recipe, vectors, options.pause), spread=4, masks=False)
    if kind in ("SQfp16", "RaBitQ"):
        return OnCpu(kind, _filled(kind, vectors, options.pause), spread=2 if kind == "SQfp16" else 4)
    if kind == "IVF":
        filled = _filled(f"IVF{lists},SQfp16", vectors, options.pause)
        return OnCpu(f"IVF{lists}", filled, spread=2, nprobe=nprobe)
    # "np": no polysemous codes, a minute's work that serves nothing.
    recipe = f"IVF{lists},PQ{_parts(dimension, 4)}np"
    return OnCpu(f"IVFPQ{lists}", _filled(recipe, vectors, options.pause), spread=8, nprobe=nprobe)


def _filled(recipe: str, vectors: Embeddings, pause: Callable[[], None]) -> Any:
    index: Any = faiss.index_factory(vectors.shape[1], recipe, faiss.METRIC_INNER_PRODUCT)
    if hasattr(index, "pq"):
        index.pq.cp.niter = PQ_ITERATIONS
    sample = vectors
    if isinstance(index, faiss.IndexPQFastScan):  # FAISS would draw as few itself, after copying them all
        sample = np.ascontiguousarray(vectors[:: 1 + len(vectors) // PQFS_SAMPLE])
    if isinstance(index, faiss.IndexIVF):
        _train_lists(index, sample, pause)
    pause()
    index.train(sample)
    for start in range(0, len(vectors), ADDED_AT_ONCE):
        pause()
        index.add(vectors[start : start + ADDED_AT_ONCE])
    return index


def _train_lists(index: Any, vectors: Embeddings, pause: Callable[[], None]) -> None:
    """What FAISS does itself, which would be in one go: most of what an IVF index takes."""
    clustering: Any = faiss.Clustering(index.d, index.nlist, index.cp)
    clustering.niter = 1  # each goes on from the last one's centroids
    for _ in range(index.cp.niter):
        pause()
        clustering.train(vectors, index.quantizer)


def notes_of(kind: IndexType, options: IndexOptions, size: int) -> tuple[str, ...]:
    """What an operator should know of an index of this kind over `size` rows."""
    setting = options.setting
    if kind == "Flat" and setting in FEWEST:
        return (f"{setting} needs {FEWEST[setting]} templates; Flat serves until then.",)
    lists = _lists(options.nlist, size)
    if kind in ("IVF", "IVFPQ") and options.nprobe > lists:
        return (f"The index has {lists} lists so far: a search looks into all of them.",)
    return ()


def _lists(nlist: int, size: int) -> int:
    return max(FEWEST_LISTS, min(nlist, size // POINTS_PER_LIST))


def _parts(dimension: int, each: int) -> int:
    """Of about `each` numbers; PQ needs a divisor of the dimension."""
    return next(m for m in range(max(1, dimension // each), 0, -1) if dimension % m == 0)
