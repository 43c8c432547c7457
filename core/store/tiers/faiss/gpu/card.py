"""A part of the gallery on one GPU, searched by FAISS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.domain.faces import Embeddings
from core.store.tiers.faiss.gpu.driver import Driver, NoCard

WORKING_BYTES = 512 << 20  # FAISS keeps a tile of similarities there; holds those of 256 probes
ONE_MORE = 256 << 20  # bytes that CUDA and cuBLAS take as they go
MOST_PROBES = 256  # at a time; more would need working memory allocated anew for every search
MOST_LANES = 32  # for one probe; on an H100 fewer and more are slower, see `lanes_for`
LANES_FROM = 250_000  # rows; below, the selection is too short to be worth the preparation
MOST = 2048  # rows that FAISS can select on a GPU
EVERY = -1  # FAISS's word for all of them, unselected
HALF = 2  # bytes of a number on the card
SPARE = 8  # one eighth more room than asked for, so that appends seldom move everything

Numbers = Literal["bf16", "fp16"]
Halves = NDArray[np.uint16]
Found = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Card:
    name: str
    cards: int
    """How many this machine has."""
    free: int
    """Bytes, when last looked at."""
    total: int
    numbers: Numbers


class CardPart:
    """In a block of the card's memory reserved ahead; a FAISS index would copy all it holds at each append.

    In bfloat16 where the card knows it, because FAISS lets cuBLAS multiply float16 in float32 units only, but
    bfloat16 in matrix units. The float32 comparison afterwards makes good what that costs in precision.

    FAISS selects the best of a probe's similarities with one of the card's many processors. So the few probes
    of a batch are made many: with `lanes` rows of the gallery taken for one long row, a probe becomes a long
    probe for each lane, zero everywhere else, which finds the best of its own lane. The card still reads the
    gallery once, multiplies more, of which it can do plenty, and selects in all lanes at the same time.
    """

    def __init__(self, device: int, dimension: int) -> None:
        """Raises NoCard."""
        self._driver = Driver(device)
        free = self._driver.memory().free
        if free < WORKING_BYTES + ONE_MORE:
            raise NoCard(f"GPU {device} has only {free >> 20} MiB of memory free.")
        self._device = device
        self._dimension = dimension
        self._width = HALF * dimension
        self._address = 0
        self._room = 0
        self._used = 0
        self._faiss: Any = _faiss_for_gpus()
        self._resources = self._faiss.StandardGpuResources()
        self._resources.setTempMemory(WORKING_BYTES)
        self._resources.setPinnedMemory(0)  # serves uploads of over 256 MiB; these are smaller
        bfloat = self._resources.supportsBFloat16(device)
        self._numbers: Numbers = "bf16" if bfloat else "fp16"
        self._type = self._faiss.DistanceDataType_BF16 if bfloat else self._faiss.DistanceDataType_F16
        self._probes = self._driver.allocate(MOST_LANES**2 * self._width)
        self._prove()

    def describe(self) -> Card:
        memory = self._driver.memory()
        return Card(self._driver.name, self._driver.cards, memory.free, memory.total, self._numbers)

    def reserve(self, rows: int) -> None:
        """Room for this many rows in all. Raises CardFull."""
        rows = -(-rows // MOST_LANES) * MOST_LANES
        if rows <= self._room:
            return
        address = self._driver.allocate(rows * self._width)
        self._driver.clear(address, rows * self._width)  # what is not used yet is searched in part
        if self._used:
            self._driver.copy(address, self._address, self._used * self._width)
        self._driver.wait()
        if self._address:
            self._driver.free(self._address)
        self._address, self._room = address, rows

    def add(self, rows: Halves) -> None:
        """Raises CardFull."""
        if self._used + len(rows) > self._room:
            self.reserve((self._used + len(rows)) * (SPARE + 1) // SPARE)
        self._driver.upload(self._address + self._used * self._width, rows)
        self._driver.wait()
        self._used += len(rows)

    def search(self, probes: Embeddings, k: int) -> Found:
        halves = halved(probes, self._numbers)  # FAISS wants both sides alike
        if k >= MOST:
            return highest(np.concatenate([self._all(halves[n : n + 1]) for n in range(len(halves))]), k)
        parts = [self._nearest(halves[n : n + MOST_PROBES], k) for n in range(0, len(halves), MOST_PROBES)]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _nearest(self, probes: Halves, k: int) -> Found:
        lanes = lanes_for(len(probes), self._used)
        return self._in_one(probes, k) if lanes == 1 else self._in_lanes(probes, k, lanes)

    def _in_one(self, probes: Halves, k: int) -> Found:
        similarities = np.empty((len(probes), k), np.float32)
        rows = np.empty((len(probes), k), np.int64)
        request = self._request(len(probes), 1, k, similarities)
        request.queries = self._faiss.swig_ptr(probes)
        request.outIndices = self._faiss.swig_ptr(rows)
        self._run(request)
        return similarities, rows

    def _in_lanes(self, probes: Halves, k: int, lanes: int) -> Found:
        count = len(probes)
        self._lay_out(probes, lanes)
        each = min(k + 1, -(-self._used // lanes))  # a lane may end in one row that is not used yet
        similarities = np.empty((lanes, count, each), np.float32)
        found = np.empty((lanes, count, each), np.int64)
        request = self._request(lanes * count, lanes, each, similarities)
        request.queries = self._faiss.cast_integer_to_void_ptr(self._probes)
        request.outIndices = self._faiss.swig_ptr(found)
        self._run(request)
        rows = found * lanes + np.arange(lanes)[:, None, None]
        unused = (rows >= self._used) | (found < 0)
        similarities[unused], rows[unused] = -np.inf, -1
        return _best(
            similarities.transpose(1, 0, 2).reshape(count, -1), rows.transpose(1, 0, 2).reshape(count, -1), k
        )

    def _lay_out(self, probes: Halves, lanes: int) -> None:
        """Long probes, all of the first lane first, on the card."""
        count = len(probes)
        long = lanes * self._width
        self._driver.clear(self._probes, lanes * count * long)
        next_lane = count * long + self._width
        if count > lanes:
            for lane in range(lanes):
                self._driver.upload(self._probes + lane * next_lane, probes, long)
        else:
            for n in range(count):
                copies = np.repeat(probes[n : n + 1], lanes, axis=0)
                self._driver.upload(self._probes + n * long, copies, next_lane)
        self._driver.wait()

    def _all(self, probe: Halves) -> NDArray[np.float32]:
        """The similarities of all rows: slower by far, and without a limit."""
        similarities = np.empty((1, self._used), np.float32)
        request = self._request(1, 1, EVERY, similarities)
        request.queries = self._faiss.swig_ptr(probe)
        self._run(request)
        return similarities

    def _request(self, probes: int, lanes: int, k: int, similarities: NDArray[np.float32]) -> Any:
        gpu = self._faiss
        request = gpu.GpuDistanceParams()
        request.metric = gpu.METRIC_INNER_PRODUCT
        request.k = k
        request.dims = self._dimension * lanes
        request.vectors = gpu.cast_integer_to_void_ptr(self._address)
        request.vectorType = request.queryType = self._type
        request.numVectors = -(-self._used // lanes)
        request.numQueries = probes
        request.outDistances = gpu.swig_ptr(similarities)
        request.device = self._device
        return request

    def _run(self, request: Any) -> None:
        self._faiss.bfKnn(self._resources, request)
        self._driver.wait()

    def _prove(self) -> None:
        """A search that FAISS cannot do on this card ends the process here, before anybody relies on it."""
        row = np.eye(1, self._dimension, dtype=np.float32)
        self.add(halved(row, self._numbers))
        similarities, _ = self.search(row, 1)
        if similarities[0, 0] != 1.0:
            raise NoCard("The GPU computes wrong similarities.")
        self._driver.clear(self._address, self._width)
        self._used = 0


def lanes_for(probes: int, rows: int) -> int:
    """Of a gallery that so many probes are compared with: a power of two.

    For 1, 4, 16, 64 and 256 probes of ten million rows 64, 16, 8, 4 and 2 lanes were fastest on an H100 (5.3,
    6.7, 9.7, 17 and 34 ms; 35 to 45 ms without), of a million rows 32, 16, 8, 4 and 1.
    """
    return 1 << int(math.log2(MOST_LANES / math.sqrt(probes))) if rows >= LANES_FROM else 1


def halved(vectors: Embeddings, numbers: Numbers) -> Halves:
    """In two bytes each, rounded to nearest."""
    if numbers == "fp16":
        return vectors.astype(np.float16).view(np.uint16)
    bits = np.ascontiguousarray(vectors).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)).astype(
        np.uint16
    )


def highest(similarities: NDArray[np.float32], k: int) -> Found:
    """The k highest of each line, padded with row -1 where there are fewer."""
    rows = np.broadcast_to(np.arange(similarities.shape[1]), similarities.shape)
    return _best(similarities, rows, k)


def _best(similarities: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> Found:
    if similarities.shape[1] > 4 * k:
        chosen = np.argpartition(similarities, -k, axis=1)[:, -k:]
        similarities, rows = np.take_along_axis(similarities, chosen, 1), np.take_along_axis(rows, chosen, 1)
    order = np.argsort(-similarities, axis=1)[:, :k]
    missing = ((0, 0), (0, k - order.shape[1]))
    similarities, rows = np.take_along_axis(similarities, order, 1), np.take_along_axis(rows, order, 1)
    return np.pad(similarities, missing, constant_values=-np.inf), np.pad(rows, missing, constant_values=-1)


def _faiss_for_gpus() -> Any:
    try:
        import faiss
    except (ImportError, RuntimeError) as problem:  # its loader raises either when a CUDA library is missing
        raise NoCard(f"FAISS for GPUs does not load: {problem}") from None
    return faiss
