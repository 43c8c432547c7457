"""What a comparison of strategies costs the live searches beside it.

    python -m tests.bench_strategies [--people 4000] [--turns 10] [--rate 0]

One live client searches all the time, by turns with and without a run of one client beside it; the ratio of
its p95 must stay within 1.5. `--rate` spaces the live searches, so many a second, instead of back to back.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from core.benchmark.benchmarks import Benchmarks
from core.benchmark.model import RunRequest, Setting
from core.config import Settings
from core.faces.engine import FaceEngine
from core.ledger.ledger import Ledger
from core.service import RobiService
from core.store.hybrid import HybridVectorStore
from core.types import Embeddings, Strategy
from tests.galleries import Gallery, fill

MUST = 1.5
TURN_SECONDS = 5.0
REQUEST = RunRequest(settings=tuple(Setting(strategy) for strategy in Strategy), count=300)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=4000)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--rate", type=float, default=0.0)
    chosen = parser.parse_args()
    gallery = Gallery(chosen.people, 5, 128)
    with tempfile.TemporaryDirectory() as name, stand(gallery, Path(name)) as service:
        known, _ = gallery.known(gallery.vectors(), 1000)
        measure(service, known, chosen.turns, chosen.rate)


@contextmanager
def stand(gallery: Gallery, directory: Path) -> Iterator[RobiService]:
    """A service with the gallery in both tiers."""
    settings = Settings(_env_file=None, qdrant_url="", use_gpu="false", robi_data_dir=directory)
    engine = FaceEngine.open(settings)
    ledger = Ledger.open(directory / "ledger.db", engine.pack)
    fill(ledger, gallery)
    store = HybridVectorStore.open(settings, ledger, engine.pack, directory)
    service = RobiService(settings, engine, ledger, store)
    try:
        while not all(state.ok and not state.lag and state.progress is None for state in store.states()):
            time.sleep(0.1)
        yield service
    finally:
        for part in (service, store, ledger, engine):
            part.close()


def measure(service: RobiService, probes: Embeddings, turns: int, rate: float) -> None:
    benchmarks = Benchmarks(service)
    ms: dict[str, list[float]] = {"alone": [], "a run gets ready": [], "a run searches": []}
    live(service, probes, 2.0, rate)
    for _ in range(turns):
        ms["alone"] += live(service, probes, TURN_SECONDS, rate)
        benchmarks.start(REQUEST)
        while (progress := benchmarks.progress()) and not progress.doing.startswith("Searching"):
            ms["a run gets ready"] += live(service, probes, 0.1, rate)
        end = time.monotonic() + TURN_SECONDS
        while benchmarks.progress() and time.monotonic() < end:
            ms["a run searches"] += live(service, probes, 0.1, rate)
        benchmarks.cancel()
        while benchmarks.progress():
            time.sleep(0.01)
    benchmarks.close()
    gallery = service.counts()
    print(f"{gallery.people} people, {gallery.templates} templates, {turns} turns of {TURN_SECONDS:g} s each")
    usual = np.percentile(ms["alone"], 95)
    for name, values in ms.items():
        p50, p95, p99 = np.percentile(values, (50, 95, 99))
        print(
            f"live, {name:17} {len(values):6} searches, p50 {p50:6.3f}  p95 {p95:6.3f}  p99 {p99:6.3f} ms"
            f"   p95 {p95 / usual:4.2f} x"
        )
    beside = np.percentile(ms["a run gets ready"] + ms["a run searches"], 95)
    print(f"p95 beside a run {beside / usual:.2f} x, must be at most {MUST}")


def live(service: RobiService, probes: Embeddings, seconds: float, rate: float) -> list[float]:
    """Milliseconds of the searches of one client."""
    end = time.perf_counter() + seconds
    ms: list[float] = []
    for probe in itertools.cycle(probes):
        started = time.perf_counter()
        if started >= end:
            return ms
        service.store.search(probe)
        spent = time.perf_counter() - started
        ms.append(1e3 * spent)
        if rate:
            time.sleep(max(0.0, 1 / rate - spent))
    return ms


if __name__ == "__main__":
    main()
