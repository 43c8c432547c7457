"""The gallery on NVIDIA GPUs: every template in two-byte numbers, and FAISS compares all of them.

Those only propose; the hot tier compares what is proposed again by its float32 vectors. Each card has a child
process of its own (`child`), so that one which fails costs this index and nothing else.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

import faiss
import numpy as np

from core.domain.faces import Embeddings
from core.store.tiers.faiss.candidate_index import (
    NOWHERE,
    Bitmap,
    GpuLost,
    GpuOptions,
    GpuUnavailable,
    Places,
)
from core.store.tiers.faiss.gpu.card import HALF, ONE_MORE, Found, Halves, Numbers, halved
from core.store.tiers.faiss.gpu.driver import NoCard, library
from core.store.tiers.faiss.gpu.process import CHUNK_BYTES, GpuProcess

logger = logging.getLogger("robi.store.faiss")

PROCESSORS = max(1, (os.cpu_count() or 2) // 2)
GIB = 1 << 30
BLOCK_BYTES = 1 << 20  # of rows halved at a time: three times as fast as without regard to processors' caches

T = TypeVar("T")

FOR_CPUS = "The FAISS installed here is the one for CPUs: install requirements-gpu.txt."

OpenCard = Callable[[int, int], GpuProcess]


def open_card(device: int, dimension: int) -> GpuProcess:
    """A child on this card, unless there is no driver or no FAISS for GPUs, which shows without one.

    Raises:
        GpuUnavailable: as `flat`.
    """
    try:
        library()
    except NoCard as problem:
        raise GpuUnavailable(str(problem)) from None
    if not hasattr(faiss, "StandardGpuResources"):
        raise GpuUnavailable(FOR_CPUS)
    return GpuProcess(device, dimension)


def flat(
    vectors: Embeddings,
    options: GpuOptions,
    *,
    devices: Sequence[int] = (),
    open_card: OpenCard = open_card,
) -> GpuFlat:
    """An index holding `vectors`, on the card that the settings name or, if they do not fit, on all of them.

    One card while it is enough: the others may have other work, and what is on one cannot be half lost.
    `devices` names the cards instead, one part of the gallery each; a card named twice holds two parts.

    Raises:
        GpuUnavailable: no card, no driver, no FAISS for GPUs, or too little memory, in words for operators.
    """
    dimension = vectors.shape[1]
    first = open_card(devices[0] if devices else options.device, dimension)
    cards = [first]
    try:
        if not devices and first.card.cards > 1 and not _fits(first, len(vectors), dimension, options):
            devices = [options.device, *(n for n in range(first.card.cards) if n != options.device)]
        cards += [open_card(device, dimension) for device in devices[1:]]
        _fill(cards, vectors, options)
    except BaseException:
        _close(cards)
        raise
    index = GpuFlat(cards, len(vectors))
    logger.info("%d templates on %s", len(vectors), index.kind)
    return index


class GpuFlat:
    """A `CandidateIndex`. After a card has failed, every call raises GpuLost in words for operators."""

    thorough = True
    spread = 2  # bfloat16 similarities of unit vectors are off by up to 1e-3
    one_thread = True
    in_place = True
    memory_bytes = 0  # it is on the card

    def __init__(self, cards: Sequence[GpuProcess], size: int) -> None:
        self._cards = cards
        self._starts = _starts(size, len(cards))
        self.size = size
        self._mutex = threading.Lock()
        self._lost: str | None = None
        self._end = weakref.finalize(self, _close, cards)

    @property
    def kind(self) -> str:
        card = self._cards[0].card
        where = card.name if len(self._cards) == 1 else f"{len(self._cards)} x {card.name}"
        return f"Flat {card.numbers} ({where})"

    @property
    def pids(self) -> list[int]:
        """Of the child processes, for monitoring."""
        return [card.pid for card in self._cards]

    def search(self, probes: Embeddings, wanted: int, alive: Bitmap | None) -> Places:  # noqa: ARG002  masks nothing
        with self._mutex:
            return self._nearest(np.ascontiguousarray(probes), wanted)

    def extended(self, vectors: Embeddings) -> GpuFlat:
        """This one, with more rows on the last card; searches go on between the pieces."""
        for piece in _pieces(vectors, self._cards[-1].card.numbers):
            with self._mutex:
                self._guarded(partial(self._cards[-1].add, piece))
                self.size += len(piece)
        return self

    def probing(self, nprobe: int) -> GpuFlat:  # noqa: ARG002  it has no lists
        return self

    def close(self) -> None:
        """End the child processes at once; otherwise they end with the object."""
        self._end()

    def _nearest(self, probes: Embeddings, wanted: int) -> Places:
        answers = self._guarded(partial(_all_at_once, self._cards, "search", probes, wanted))
        if len(answers) == 1:
            return answers[0][1]
        similarities = np.hstack([found for found, _ in answers])
        places = np.hstack(
            [
                np.where(rows < 0, NOWHERE, rows + start)
                for (_, rows), start in zip(answers, self._starts, strict=True)
            ]
        )
        best = np.argsort(-similarities, axis=1)[:, :wanted]
        return np.take_along_axis(places, best, 1)

    def _guarded(self, call: Callable[[], T]) -> T:
        if self._lost is not None:
            raise GpuLost(self._lost)
        try:
            return call()
        except GpuUnavailable as problem:
            self._lost = str(problem)
            self._end()
            raise GpuLost(self._lost) from None


def _all_at_once(cards: Sequence[GpuProcess], *message: object) -> list[Found]:
    for card in cards:
        card.ask(*message)
    return [card.answer() for card in cards]


def _fill(cards: Sequence[GpuProcess], vectors: Embeddings, options: GpuOptions) -> None:
    starts = [*_starts(len(vectors), len(cards)), len(vectors)]
    for card, start, end in zip(cards, starts, starts[1:], strict=False):
        card.look()
        if not _fits(card, end - start, vectors.shape[1], options):
            raise GpuUnavailable(_too_small(card, end - start, vectors.shape[1], options))
        card.request("reserve", _room(end - start))
        for piece in _pieces(vectors[start:end], card.card.numbers):
            card.add(piece)


def _pieces(vectors: Embeddings, numbers: Numbers) -> Iterator[Halves]:
    """Halved by all processors: one alone would take longer than all the rest. Each lasts until the next."""
    rows = max(1, CHUNK_BYTES // (vectors.shape[1] * HALF))
    each = -(-rows // PROCESSORS)
    halves = np.empty((min(rows, len(vectors)), vectors.shape[1]), np.uint16)
    with ThreadPoolExecutor(PROCESSORS, "gpu-rows") as pool:
        for start in range(0, len(vectors), rows):
            chunk = vectors[start : start + rows]
            halve = partial(_halve, chunk, halves, numbers, each)
            list(pool.map(halve, range(0, len(chunk), each)))
            yield halves[: len(chunk)]


def _halve(chunk: Embeddings, halves: Halves, numbers: Numbers, count: int, first: int) -> None:
    block = max(1, BLOCK_BYTES // chunk[0].nbytes)
    end = min(first + count, len(chunk))
    for start in range(first, end, block):
        last = min(start + block, end)
        halves[start:last] = halved(chunk[start:last], numbers)


def _starts(size: int, parts: int) -> list[int]:
    """The first row of each part; the last part also takes what comes later."""
    return [size * part // parts for part in range(parts)]


def _room(rows: int) -> int:
    return rows + rows // 8 + 1024


def _needed(rows: int, dimension: int) -> int:
    return _room(rows) * dimension * HALF + ONE_MORE


def _allowed(card: GpuProcess, options: GpuOptions) -> int:
    return int(card.card.free - (1 - options.memory_fraction) * card.card.total)


def _fits(card: GpuProcess, rows: int, dimension: int, options: GpuOptions) -> bool:
    return _needed(rows, dimension) <= _allowed(card, options)


def _too_small(card: GpuProcess, rows: int, dimension: int, options: GpuOptions) -> str:
    most = max(0, _allowed(card, options))
    return (
        f"{rows} templates need {_needed(rows, dimension) / GIB:.1f} GiB on {card.card.name}; of its"
        f" {card.card.total / GIB:.1f} GiB {card.card.free / GIB:.1f} are free, and"
        f" GPU_MEMORY_FRACTION={options.memory_fraction:g} leaves {most / GIB:.1f}."
    )


def _close(cards: Sequence[GpuProcess]) -> None:
    for card in cards:
        with suppress(OSError):
            card.close()
