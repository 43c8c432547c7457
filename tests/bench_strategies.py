"""What a comparison of strategies costs the live searches beside it.

    python -m tests.bench_strategies [--people 4000] [--turns 10] [--rate 0] [--build PQfs]

One live client searches all the time, by turns with and without a run of one client beside it; the ratio of
its p95 must stay within 1.5. `--rate` spaces the live searches, so many a second, instead of back to back.
With `--build` only a cache of that kind is built, by turns in one go and giving way as a run does.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import numpy as np

from core.benchmark.benchmarks import Benchmarks
from core.benchmark.model import RunRequest, Setting
from core.benchmark.throttle import BUILD_SHARE, Pace
from core.config.settings import IndexType, Settings
from core.domain.faces import Embeddings
from core.domain.search import Strategy
from core.faces.engine import FaceEngine
from core.ledger.ledger import Ledger
from core.services.service import RobiService
from core.store.hybrid import HybridVectorStore
from core.store.tiers.faiss.candidate_index import at_once
from core.store.trial import TrialOptions
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
    parser.add_argument("--build", choices=get_args(IndexType))
    chosen = parser.parse_args()
    gallery = Gallery(chosen.people, 5, 128)
    with tempfile.TemporaryDirectory() as name, stand(gallery, Path(name)) as service:
        known, _ = gallery.known(gallery.vectors(), 1000)
        if chosen.build:
            ms = beside_builds(service, known, chosen.turns, chosen.rate, chosen.build)
        else:
            ms = beside_runs(service, known, chosen.turns, chosen.rate)
        report(service, ms, chosen.turns)


@contextmanager
def stand(gallery: Gallery, directory: Path) -> Iterator[RobiService]:
    """A service with the gallery in both tiers."""
    settings = Settings(_env_file=None, qdrant_url="", use_gpu="false", robi_data_dir=directory)
    engine = FaceEngine.open(settings)
    ledger = Ledger.open(directory / "ledger.db", engine.pack)
    fill(ledger, gallery)
    store = HybridVectorStore.open(settings, ledger.feed, engine.pack, directory)
    service = RobiService.open(settings, engine, ledger, store)
    try:
        while not all(state.ok and not state.lag and state.progress is None for state in store.states()):
            time.sleep(0.1)
        yield service
    finally:
        for part in (service, store, ledger, engine):
            part.close()


def beside_runs(service: RobiService, probes: Embeddings, turns: int, rate: float) -> dict[str, list[float]]:
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
    return ms


def beside_builds(
    service: RobiService, probes: Embeddings, turns: int, rate: float, kind: IndexType
) -> dict[str, list[float]]:
    pace = Pace(lambda: service.store.loads()["search"].rows, threading.Event().wait, 3600.0)
    ms: dict[str, list[float]] = {"alone": [], "built in one go": [], "built giving way": []}
    seconds = dict.fromkeys(ms, 0.0)
    live(service, probes, 2.0, rate)
    for _ in range(turns):
        ms["alone"] += live(service, probes, TURN_SECONDS, rate)
        for name, pause in (("built in one go", at_once), ("built giving way", pace.resting(BUILD_SHARE))):
            options, started = TrialOptions(1.0, kind, pause=pause), time.monotonic()
            with ThreadPoolExecutor(1) as other:
                building = other.submit(service.store.trial, options)
                while not building.done():
                    ms[name] += live(service, probes, 0.05, rate)
                building.result().close()
            seconds[name] += (time.monotonic() - started) / turns
    print(", ".join(f"{name} in {took:.1f} s" for name, took in seconds.items() if took))
    return ms


def report(service: RobiService, ms: dict[str, list[float]], turns: int) -> None:
    gallery = service.people.counts()
    print(f"{gallery.people} people, {gallery.templates} templates, {turns} turns of {TURN_SECONDS:g} s each")
    usual = np.percentile(ms["alone"], 95)
    for name, values in ms.items():
        p50, p95, p99 = np.percentile(values, (50, 95, 99))
        print(
            f"live, {name:17} {len(values):6} searches, p50 {p50:6.3f}  p95 {p95:6.3f}  p99 {p99:6.3f} ms"
            f"   p95 {p95 / usual:4.2f} x"
        )
    print(f"must be at most {MUST} over the whole of a run")
    if "a run searches" in ms:
        beside = np.percentile(ms["a run gets ready"] + ms["a run searches"], 95)
        print(f"p95 beside a run {beside / usual:.2f} x")


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
