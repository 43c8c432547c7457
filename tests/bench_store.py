"""Latency of one client: the three strategies beside the raw calls they rest on, in one run.

    python tests/bench_store.py [templates] [dimension]

Absolute figures depend on the machine; the ratios and the overhead are what to look at.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import qdrant_edge as edge

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.config import Settings
from core.ledger.ledger import Ledger
from core.store.hybrid import HybridVectorStore
from core.types import Embeddings, NewTemplate, PackInfo, Strategy

EACH = 4
ROUNDS = 300
DEPTH = 18  # templates that a search for five people asks a tier for


def gallery_of(templates: int, dimension: int) -> Embeddings:
    random = np.random.default_rng(1)
    rows = random.standard_normal((templates, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def timed(call: Callable[[int], object]) -> list[float]:
    times = []
    for n in range(ROUNDS):
        started = time.perf_counter()
        call(n)
        times.append(1e3 * (time.perf_counter() - started))
    return times


def raw_flat(gallery: Embeddings) -> Callable[[int], object]:
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(gallery)
    return lambda n: index.search(gallery[n : n + 1], DEPTH)


def raw_edge(gallery: Embeddings, directory: Path) -> Callable[[int], object]:
    directory.mkdir()
    vectors = edge.EdgeVectorParams(size=gallery.shape[1], distance=edge.Distance.Cosine)
    shard = edge.EdgeShard.create(str(directory), edge.EdgeConfig(vectors=vectors))
    for start in range(0, len(gallery), 1000):
        rows = enumerate(gallery[start : start + 1000], start)
        shard.update(
            edge.UpdateOperation.upsert_points([edge.Point(id=i, vector=v, payload={}) for i, v in rows])
        )
    return lambda n: shard.query(edge.QueryRequest(limit=DEPTH, query=edge.Query.Nearest(gallery[n])))


def main(templates: int = 10_000, dimension: int = 128) -> None:
    gallery = gallery_of(templates, dimension)
    pack = PackInfo("bench", "00", dimension, "none")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        ledger = Ledger.open(directory / "ledger.db", pack)
        for start in range(0, templates, EACH):
            new = [NewTemplate(row, 1.0, "api") for row in gallery[start : start + EACH]]
            ledger.enroll(f"p{start}", f"P {start}", new)
        started = time.perf_counter()
        store = HybridVectorStore.open(Settings(_env_file=None, qdrant_url=""), ledger, pack, directory)
        while any(state.lag or not state.ok for state in store.states()):
            time.sleep(0.05)
        print(
            f"open and fill both tiers with {templates} x {dimension}: {time.perf_counter() - started:.1f} s"
        )
        faiss.omp_set_num_threads(1)
        calls: dict[str, Callable[[int], object]] = {
            "raw faiss Flat": raw_flat(gallery),
            "raw Edge in process": raw_edge(gallery, directory / "raw"),
            "join alone": lambda n: ledger.resolve(range(n + 1, n + 1 + DEPTH)),
        }
        for strategy in Strategy:
            calls[str(strategy)] = lambda n, s=strategy: store.search(gallery[n], strategy=s)
        for call in calls.values():
            call(0)
        rounds = {name: timed(call) for name, call in calls.items()}
        for label, times in rounds.items():
            p50, p95 = np.percentile(times, (50, 95))
            print(f"{label:20} p50 {p50:6.3f} ms   p95 {p95:6.3f} ms")
        store.close()
        ledger.close()


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
