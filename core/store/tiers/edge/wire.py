"""What parent and Edge child say to each other: one request, one answer, over a socket.

Searches travel as plain buffers, because they are many; everything else is a pickled tuple.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np

from core.domain.search import Hit

SEARCH: Final = b"s"  # limit and ef, then the probes
HITS: Final = b"h"  # number of probes, hits for each, ids, similarities
OTHER: Final = b"o"  # a pickled tuple: (operation, arguments...) or (status, answer)

_HEAD = struct.Struct("<Ic")
_INT = struct.Struct("<I")
_DEPTH = struct.Struct("<II")

SEARCH_EF: Final = 128  # neighbours considered in the graph, unless a search says otherwise


class Wire:
    """One end of the socket. Errors are OSError and EOFError; a time limit is BlockingIOError."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._limits: dict[int, float] = {}

    def limit(self, option: int, seconds: float) -> None:
        """Bound sending (SO_SNDTIMEO) or receiving (SO_RCVTIMEO); costs a call only when it changes."""
        if self._limits.get(option) == seconds:
            return
        whole = int(seconds)
        self.socket.setsockopt(
            socket.SOL_SOCKET, option, struct.pack("ll", whole, int((seconds - whole) * 1e6))
        )
        self._limits[option] = seconds

    def send(self, kind: bytes, body: bytes) -> None:
        self.socket.sendall(_HEAD.pack(len(body), kind) + body)

    def tell(self, *message: Any) -> None:
        self.send(OTHER, pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def receive(self) -> tuple[bytes, bytearray]:
        length, kind = _HEAD.unpack(self._exactly(_HEAD.size))
        return kind, self._exactly(length)

    def close(self) -> None:
        self.socket.close()

    def _exactly(self, length: int) -> bytearray:
        body = bytearray(length)
        view = memoryview(body)
        while view:
            got = self.socket.recv_into(view)
            if not got:
                raise EOFError
            view = view[got:]
        return body


def told(body: bytearray) -> tuple[Any, ...]:
    """What `Wire.tell` sent. Only ever from a process that this one started, or was started by."""
    message: tuple[Any, ...] = pickle.loads(body)  # noqa: S301  both ends are ours, over an unnamed socket
    return message


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
