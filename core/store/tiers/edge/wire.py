"""Searches of the Edge engine as plain buffers, because they are many; everything else is a message."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

import numpy as np

from core.domain.search import Hit

SEARCH: Final = b"s"  # limit and ef, then the probes
HITS: Final = b"h"  # number of probes, hits for each, ids, similarities

_INT = struct.Struct("<I")
_DEPTH = struct.Struct("<II")

SEARCH_EF: Final = 128  # neighbours considered in the graph, unless a search says otherwise


def search_body(probes: bytes, limit: int, ef: int) -> bytes:
    return _DEPTH.pack(limit, ef) + probes


def read_search(body: bytearray) -> tuple[bytes, int, int]:
    return bytes(body[_DEPTH.size :]), *_DEPTH.unpack_from(body)


def hits_body(rows: Sequence[Sequence[tuple[int, float]]]) -> bytes:
    counts = np.array([len(row) for row in rows], np.uint32)
    ids = np.array([hit[0] for row in rows for hit in row], np.int64)
    similarities = np.array([hit[1] for row in rows for hit in row], np.float32)
    return _INT.pack(len(rows)) + counts.tobytes() + ids.tobytes() + similarities.tobytes()


def read_hits(body: bytearray) -> list[list[Hit]]:
    rows = _INT.unpack_from(body)[0]
    counts = np.frombuffer(body, np.uint32, rows, _INT.size).tolist()
    start, total = _INT.size + 4 * rows, sum(counts)
    ids = np.frombuffer(body, np.int64, total, start).tolist()
    similarities = np.frombuffer(body, np.float32, total, start + 8 * total).tolist()
    hits = list(map(Hit, ids, similarities))
    return [hits[first:last] for first, last in pairwise(accumulate(counts, initial=0))]
