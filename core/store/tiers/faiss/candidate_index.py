"""What an index over the hot tier's rows must be able to do, on a CPU or a GPU, and what it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.config.settings import IndexType, Settings
from core.domain.faces import Embeddings

Places = NDArray[np.int64]

Bitmap = NDArray[np.uint8]

NOWHERE = -1


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
