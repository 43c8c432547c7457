"""Qdrant Edge in a process of its own: it holds the interpreter lock while it works, and may crash.

Run as `python -m core.store.tiers.edge.child FD DIRECTORY DIMENSION NICE`. Answers requests on the inherited
socket, one at a time, and ends when the other side is gone, which is also how it notices its parent's death.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import qdrant_edge as edge

from core.runtime.wire import Wire, told
from core.store.contract import MARKER_ID
from core.store.tiers.edge.wire import HITS, SEARCH, SEARCH_EF, hits_body, read_search

IDLE_MS = 2000.0  # without requests, after which written data is flushed to disk
FLUSH_SECONDS = 30.0  # also under constant requests: what is not flushed is replayed by the next start,
FLUSH_CHANGES = 20_000  # 200k changes in 3.7 s

# 20k people x 5 templates x 128 random directions: the template a probe at cosine 0.72 came from is first in
# 1.000 of 500 probes (ef 64: 0.994; m 8: 0.966), in 0.87 ms against 5.5 ms for the exact scan.
HNSW = edge.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=10, max_indexing_threads=1)
WHENEVER_ASKED = edge.EdgeOptimizersConfig(indexing_threshold=10)  # KB: the parent knows when it is worth it
LARGE = 200_000  # points, beyond which a graph needs twice the ef for the same recall

# A graph leads to what is near; for somebody who is not in the gallery it often misses the nearest (it found
# 0.77). So an answer below SURE is taken from an exact scan, or a far wider search where a scan takes too
# long: then no nearest person was missed among 3000 probes at cosines from 0.40 to 0.72 in that gallery.
SURE = 0.5
WIDE_SEARCH_EF = 1024  # as good as exact over 100k points, and as slow there


class Shard:
    """One Edge shard and the marker point that says how far it has followed the ledger."""

    def __init__(self, directory: Path, dimension: int) -> None:
        self._dimension = dimension
        self._marker_vector = np.eye(1, dimension, dtype=np.float32)[0]
        vectors = edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Cosine)
        config = edge.EdgeConfig(vectors=vectors, hnsw_config=HNSW, optimizers=WHENEVER_ASKED)
        if directory.exists() and any(directory.iterdir()):
            self._shard = edge.EdgeShard.load(str(directory), config)
        else:
            directory.mkdir(parents=True, exist_ok=True)
            self._shard = edge.EdgeShard.create(str(directory), config)
        self._written = 0  # changes since the last flush
        self._flushed_at = time.monotonic()
        marker = self._shard.retrieve([MARKER_ID], True, False)
        told_by_marker = (marker[0].payload if marker else None) or {}
        self.seq = int(told_by_marker.get("seq", 0))
        self._dropped = int(told_by_marker.get("dropped", 0))  # points whose vectors are still in the files
        self._dropped_at = float(told_by_marker.get("dropped_at", 0.0))  # the first of them
        self._count: int | None = None
        self._measure()

    def _measure(self) -> None:
        info = self._shard.info()
        large = info.points_count > LARGE
        self._indexed = info.indexed_vectors_count > 0
        self._large = large

    def search(self, probes: bytes, limit: int, ef: int = SEARCH_EF) -> list[list[tuple[int, float]]]:
        rows = np.frombuffer(probes, dtype=np.float32).reshape(-1, self._dimension).tolist()
        first = edge.SearchParams(hnsw_ef=2 * ef if self._large else ef)
        answers = self._query(rows, limit, first)
        if self._indexed:
            unsure = [row for row, hits in enumerate(answers) if not hits or hits[0][1] < SURE]
            second = edge.SearchParams(hnsw_ef=max(WIDE_SEARCH_EF, ef), exact=not self._large)
            again = self._query([rows[row] for row in unsure], limit, second) if unsure else []
            for row, hits in zip(unsure, again, strict=True):
                answers[row] = hits
        return answers

    def _query(
        self, rows: list[list[float]], limit: int, params: edge.SearchParams
    ) -> list[list[tuple[int, float]]]:
        requests = [
            edge.QueryRequest(limit=limit + 1, query=edge.Query.Nearest(row), params=params) for row in rows
        ]
        answers = self._shard.query_batch(edge.QueryBatchRequest(requests))
        return [[(_number(h.id), h.score) for h in hits if h.id != MARKER_ID][:limit] for hits in answers]

    def apply(self, ids: list[int], persons: list[int], vectors: bytes, drops: list[int], seq: int) -> int:
        if not self._written:
            self._flushed_at = time.monotonic()
        self._written += len(ids) + len(drops) + 1
        points, self._count = self.count(), None
        gone = self._delete(drops) if drops else 0
        added = self._upsert(ids, persons, vectors) if ids else 0
        self._note_dropped(gone)
        told_to_marker = {"seq": seq, "dropped": self._dropped, "dropped_at": self._dropped_at}
        marker = edge.Point(id=MARKER_ID, vector=cast("Any", self._marker_vector), payload=told_to_marker)
        self._shard.update(edge.UpdateOperation.upsert_points([marker]))
        self.seq = seq
        self._count = points - gone + added
        return seq

    def _delete(self, ids: list[int]) -> int:
        """Returns how many of them there were."""
        there = len(self._shard.retrieve([*ids], False, False))
        self._shard.update(edge.UpdateOperation.delete_points([*ids]))
        return there

    def _upsert(self, ids: list[int], persons: list[int], vectors: bytes) -> int:
        """Returns how many of them are new."""
        there = len(self._shard.retrieve([*ids], False, False))
        rows = np.frombuffer(vectors, dtype=np.float32).reshape(len(ids), self._dimension).tolist()
        points = [
            edge.Point(id=i, vector=row, payload={"person": person})
            for i, person, row in zip(ids, persons, rows, strict=True)
        ]
        self._shard.update(edge.UpdateOperation.upsert_points(points))
        return len(ids) - there

    def _note_dropped(self, points: int) -> None:
        if points and not self._dropped:
            self._dropped_at = time.time()  # has to survive a restart; decides only when to tidy up
        self._dropped += points

    def count(self) -> int:
        """Counted once (a million takes 0.14 s), then kept up to date."""
        if self._count is None:
            points = int(self._shard.count(edge.CountRequest(exact=True)))
            self._count = points - len(self._shard.retrieve([MARKER_ID], False, False))
        return self._count

    def held(self, ids: list[int]) -> list[tuple[int, bytes]]:
        wanted: list[edge.PointId] = [i for i in ids if i != MARKER_ID]
        records = self._shard.retrieve(wanted, False, True) if wanted else []
        return [
            (_number(record.id), np.asarray(record.vector, dtype=np.float32).tobytes()) for record in records
        ]

    def ids(self, after: int, limit: int) -> bytes:
        """At most `limit` ids above `after`, ascending; int64."""
        request = edge.ScrollRequest(offset=after + 1, limit=limit, with_payload=False, with_vector=False)
        records, _ = self._shard.scroll(request)
        return np.array([_number(record.id) for record in records], np.int64).tobytes()

    def info(self) -> dict[str, float]:
        info = self._shard.info()
        self._measure()
        return {
            "segments": info.segments_count,
            "indexed": info.indexed_vectors_count,
            "dropped": self._dropped,
            "dropped_for": time.time() - self._dropped_at if self._dropped else 0.0,
        }

    @property
    def dirty(self) -> bool:
        return bool(self._written)

    @property
    def overdue(self) -> bool:
        """Whether a flush should not wait for a moment without requests."""
        late = time.monotonic() - self._flushed_at > FLUSH_SECONDS
        return self._written > FLUSH_CHANGES or (self.dirty and late)

    def flush(self) -> None:
        self._shard.flush()
        self._written = 0

    def optimize(self) -> None:
        """Index everything. Takes minutes, during which nothing else is answered."""
        self._shard.optimize()
        self.flush()

    def close(self) -> None:
        self._shard.close()


def _number(point_id: object) -> int:
    return cast("int", point_id)  # the engine also knows UUIDs; Robi's ids are integers


@contextmanager
def dying_with_parent(end: socket.socket) -> Iterator[None]:
    """End at once when the other side is gone, although no Python runs: the engine holds the lock."""
    asynchronous = getattr(os, "O_ASYNC", 0) or getattr(fcntl, "FASYNC", 0)
    if not asynchronous:
        yield
        return
    before = fcntl.fcntl(end, fcntl.F_GETFL)
    fcntl.fcntl(end, fcntl.F_SETOWN, os.getpid())
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # which ends the process
    fcntl.fcntl(end, fcntl.F_SETFL, before | asynchronous)
    try:
        if _readable(end, 0.0):  # nobody asks anything meanwhile: it hung up before the signal was set
            raise EOFError
        yield
    finally:
        fcntl.fcntl(end, fcntl.F_SETFL, before)


def _readable(end: socket.socket, milliseconds: float) -> bool:
    poll = select.poll()
    poll.register(end, select.POLLIN)
    return bool(poll.poll(milliseconds))


def serve(wire: Wire, shard: Shard) -> None:
    """Answer requests until the parent hangs up or asks to close."""

    def optimize() -> None:
        with dying_with_parent(wire.socket):
            shard.optimize()

    operations: dict[str, Callable[..., object]] = {
        "apply": shard.apply,
        "count": shard.count,
        "held": shard.held,
        "ids": shard.ids,
        "info": shard.info,
        "flush": shard.flush,
        "optimize": optimize,
    }
    while True:
        if shard.dirty and (shard.overdue or not _readable(wire.socket, IDLE_MS)):
            shard.flush()
        kind, body = wire.receive()
        try:
            if kind == SEARCH:
                wire.send(HITS, hits_body(shard.search(*read_search(body))))
                continue
            operation, *arguments = told(body)
            if operation == "close":
                shard.close()
                wire.tell("ok", None)
                return
            answer = ("ok", operations[operation](*arguments))
        except (EOFError, ConnectionError):
            raise
        except Exception as problem:  # noqa: BLE001  the engine raises bare Exception for everything
            answer = ("error", f"{type(problem).__name__}: {problem}")
        wire.tell(*answer)


def main(arguments: Sequence[str]) -> int:
    descriptor, directory, dimension, nice = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle, which then closes us
    os.umask(0o077)  # what it writes is biometric
    os.nice(int(nice))
    wire = Wire(socket.socket(fileno=int(descriptor)))
    wire.tell("starting", None)
    try:
        shard = Shard(Path(directory), int(dimension))
    except Exception as problem:  # noqa: BLE001  as above
        wire.tell("locked" if "WouldBlock" in str(problem) else "unreadable", str(problem))
        return 1
    wire.tell("ready", shard.seq)
    try:
        serve(wire, shard)
    except (EOFError, ConnectionError):
        shard.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
