"""The kinds of FAISS index that can stand over the hot tier's rows, and which of them to use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from core.config.settings import IndexType, Settings
from core.domain.faces import Embeddings

Places = NDArray[np.int64]
Bitmap = NDArray[np.uint8]

NOWHERE = -1
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


class GpuUnavailable(Exception):
    """No index can be built on a GPU; the text says why, for operators."""


class GpuLost(RuntimeError):
    """An index has lost the GPU it was on; the text says why, for operators."""


@dataclass(frozen=True, slots=True)
class GpuOptions:
    device: int
    memory_fraction: float
    """Of a card's memory that may be in use once the gallery is on it, whoever uses it."""
    required: bool = False
    """Whether it is used for small galleries too, and missed where there is none."""

    @classmethod
    def of(cls, settings: Settings) -> GpuOptions:
        return cls(settings.gpu_device_id, settings.gpu_memory_fraction, settings.use_gpu == "true")


class CandidateIndex(Protocol):
    """Proposes places that are worth an exact comparison; place n is the n-th row it was given.

    Searched from any number of threads at once, also while `extended` runs. A search or `extended` may
    raise RuntimeError (GpuLost among them) or MemoryError: the tier then goes on without this index. There is
    no close: memory and threads go when nobody refers to it any more.
    """

    @property
    def kind(self) -> str:
        """For people, such as `RaBitQ` or `Flat (GPU)`."""
        ...

    @property
    def thorough(self) -> bool:
        """Whether a search looks at every row; one that skips lists may miss the best."""
        ...

    @property
    def spread(self) -> int:
        """How many times as many places to compare exactly as are wanted."""
        ...

    @property
    def one_thread(self) -> bool:
        """Whether one thread of its own does all the work, so that callers do better to share batches."""
        ...

    @property
    def in_place(self) -> bool:
        """Whether `extended` adds to this index, which costs little, or to a copy of all it holds."""
        ...

    @property
    def size(self) -> int:
        """Rows it holds; may be more than the caller knows of, after an `extended` that it did not adopt."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Main memory it takes, beside the rows."""
        ...

    def search(self, probes: Embeddings, wanted: int, alive: Bitmap | None) -> Places:
        """The `wanted` most promising places per probe, (n, wanted), NOWHERE where there are no more.

        `alive` has a bit for each row (None: all are alive). Dead places may be proposed all the same, and
        so may rows added by `extended`: the caller leaves them out, and asks for more if too few remain.
        """
        ...

    def extended(self, vectors: Embeddings) -> CandidateIndex:
        """An index that holds these rows after its present ones; may be this one."""
        ...

    def probing(self, nprobe: int) -> CandidateIndex:
        """This one, looking into so many of its lists; itself if it has none, or does so already."""
        ...


class OnCpu:
    """A compressed FAISS index in main memory."""

    one_thread = False
    in_place = False

    def __init__(self, kind: str, index: Any, *, spread: int, nprobe: int = 0, masks: bool = True) -> None:
        self.kind = kind
        self.spread = spread
        self.thorough = nprobe == 0
        self._index = index
        self._nprobe = nprobe
        self._masks = masks  # whether FAISS can leave out dead rows itself

    @property
    def size(self) -> int:
        return int(self._index.ntotal)

    @property
    def memory_bytes(self) -> int:
        return int(self._index.ntotal * self._index.sa_code_size())

    def search(self, probes: Embeddings, wanted: int, alive: Bitmap | None) -> Places:
        places: Places = self._index.search(probes, wanted, params=self._parameters(alive))[1]
        return places

    def extended(self, vectors: Embeddings) -> OnCpu:
        longer = faiss.clone_index(self._index)
        longer.add(vectors)
        return OnCpu(self.kind, longer, spread=self.spread, nprobe=self._nprobe, masks=self._masks)

    def probing(self, nprobe: int) -> OnCpu:
        nprobe = min(nprobe, int(self._index.nlist)) if self._nprobe else 0
        if nprobe == self._nprobe:
            return self
        return OnCpu(self.kind, self._index, spread=self.spread, nprobe=nprobe, masks=self._masks)

    def _parameters(self, alive: Bitmap | None) -> Any:
        chosen: dict[str, Any] = {}
        if alive is not None and self._masks:
            chosen["sel"] = selector(alive, self._index.ntotal)
        if self._nprobe:
            chosen["nprobe"] = self._nprobe
        kind: Any = faiss.SearchParametersIVF if self._nprobe else faiss.SearchParameters
        return kind(**chosen) if chosen else None  # PQfs refuses any


def at_once() -> None:
    """Nobody has to be given way to, and nothing ends the work."""


@dataclass(frozen=True, slots=True)
class IndexOptions:
    setting: IndexType = "auto"
    nlist: int = 4096
    nprobe: int = 64
    gpu: GpuOptions | None = None  # None: do not try one
    pause: Callable[[], None] = field(default=at_once, compare=False)
    """Called between pieces of loading and building; may wait, and raises to end it."""

    @classmethod
    def of(cls, settings: Settings) -> IndexOptions:
        return cls(
            settings.faiss_index_type,
            settings.faiss_nlist,
            settings.faiss_nprobe,
            None if settings.use_gpu == "false" else GpuOptions.of(settings),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A new index over all rows; None stands for an exact scan of the rows themselves."""

    index: CandidateIndex | None
    trained: bool = False  # on the rows as they were: worth doing again when there are many more
    notes: tuple[str, ...] = ()  # what an operator should know
    gpu_missing: str | None = None  # why it is not on a GPU, where one was tried


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
    from core.store.tiers.faiss.gpu import index as gpu  # here: it builds on this module

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


def selector(alive: Bitmap, size: int) -> Any:
    """FAISS's view of a bitmap of living rows."""
    chosen: Any = faiss.IDSelectorBitmap(size, faiss.swig_ptr(alive))
    chosen.keep_alive = alive  # FAISS keeps a bare pointer
    return chosen
