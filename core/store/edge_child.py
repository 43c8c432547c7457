"""Qdrant Edge in a process of its own: it holds the interpreter lock while it works, and may crash.

Run as `python -m core.store.edge_child FD DIRECTORY DIMENSION`. Answers requests on the inherited socket, one
at a time, and ends when the other side is gone, which is also how it notices its parent's death.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import numpy as np
import qdrant_edge as edge

from core.store.cold import MARKER_ID

IDLE_SECONDS = 2.0  # without requests, after which written data is flushed to disk


class Shard:
    """One Edge shard and the marker point that says how far it has followed the ledger."""

    def __init__(self, directory: Path, dimension: int) -> None:
        self._dimension = dimension
        self._marker_vector = np.eye(1, dimension, dtype=np.float32)[0]
        vectors = edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Cosine)
        config = edge.EdgeConfig(vectors=vectors)
        if directory.exists() and any(directory.iterdir()):
            self._shard = edge.EdgeShard.load(str(directory), config)
        else:
            directory.mkdir(parents=True, exist_ok=True)
            self._shard = edge.EdgeShard.create(str(directory), config)
        self.dirty = False

    def seq(self) -> int:
        found = self._shard.retrieve([MARKER_ID], True, False)
        return int((found[0].payload or {})["seq"]) if found else 0

    def search(self, probes: bytes, limit: int) -> list[list[tuple[int, float]]]:
        rows = np.frombuffer(probes, dtype=np.float32).reshape(-1, self._dimension)
        params = edge.SearchParams(hnsw_ef=128)
        requests = [
            edge.QueryRequest(limit=limit + 1, query=edge.Query.Nearest(cast("Any", row)), params=params)
            for row in rows
        ]
        answers = self._shard.query_batch(edge.QueryBatchRequest(requests))
        return [[(_number(h.id), h.score) for h in hits if h.id != MARKER_ID][:limit] for hits in answers]

    def apply(self, ids: list[int], persons: list[int], vectors: bytes, drops: list[int], seq: int) -> int:
        self.dirty = True
        if drops:
            self._shard.update(edge.UpdateOperation.delete_points([*drops]))
        if ids:
            rows = np.frombuffer(vectors, dtype=np.float32).reshape(len(ids), self._dimension)
            points = [
                edge.Point(id=i, vector=cast("Any", row), payload={"person": person})
                for i, person, row in zip(ids, persons, rows, strict=True)
            ]
            self._shard.update(edge.UpdateOperation.upsert_points(points))
        marker = edge.Point(id=MARKER_ID, vector=cast("Any", self._marker_vector), payload={"seq": seq})
        self._shard.update(edge.UpdateOperation.upsert_points([marker]))
        return seq

    def count(self) -> int:
        points = int(self._shard.count(edge.CountRequest(exact=True)))
        return points - len(self._shard.retrieve([MARKER_ID], False, False))

    def held(self, ids: list[int]) -> list[tuple[int, bytes]]:
        wanted: list[edge.PointId] = [i for i in ids if i != MARKER_ID]
        records = self._shard.retrieve(wanted, False, True) if wanted else []
        return [
            (_number(record.id), np.asarray(record.vector, dtype=np.float32).tobytes()) for record in records
        ]

    def info(self) -> dict[str, int]:
        info = self._shard.info()
        return {"segments": info.segments_count, "indexed": info.indexed_vectors_count}

    def flush(self) -> None:
        self._shard.flush()
        self.dirty = False

    def close(self) -> None:
        self._shard.close()


def _number(point_id: object) -> int:
    return cast("int", point_id)  # the engine also knows UUIDs; Robi's ids are integers


def serve(connection: Connection, shard: Shard) -> None:
    """Answer requests until the parent hangs up or asks to close."""
    operations: dict[str, Callable[..., Any]] = {
        "search": shard.search,
        "apply": shard.apply,
        "count": shard.count,
        "held": shard.held,
        "info": shard.info,
        "flush": shard.flush,
    }
    while True:
        if shard.dirty and not connection.poll(IDLE_SECONDS):
            shard.flush()
        operation, *arguments = connection.recv()
        if operation == "close":
            shard.close()
            connection.send(("ok", None))
            return
        try:
            answer = ("ok", operations[operation](*arguments))
        except Exception as problem:  # noqa: BLE001  the engine raises bare Exception for everything
            answer = ("error", f"{type(problem).__name__}: {problem}")
        connection.send(answer)


def main(descriptor: int, directory: Path, dimension: int) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle, which then closes us
    os.umask(0o077)  # what it writes is biometric
    connection = Connection(descriptor)
    connection.send(("starting", None))
    try:
        shard = Shard(directory, dimension)
        seq = shard.seq()
    except Exception as problem:  # noqa: BLE001  as above
        connection.send(("locked" if "WouldBlock" in str(problem) else "unreadable", str(problem)))
        return 1
    connection.send(("ready", seq))
    try:
        serve(connection, shard)
    except (EOFError, ConnectionError):
        shard.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
