"""How long a calibration takes, beside the products that it cannot do without, and what it costs searches.

    python -m tests.bench_calibration [--dimension 128] [--templates 1000 10000 100000]

The raw product compares as many templates with the gallery as the calibration does, in blocks of the same
size, on one core like the calibration, and throws the similarities away. Both are measured once, one after
the other. Then one client searches: alone, beside a thread that does nothing but such products, and beside
calibrations.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from core.calibration import score_blocks
from core.calibration.calibrate import IMPOSTORS, of_gallery
from core.calibration.embedding_map import embedding_map
from core.calibration.faces import Faces, read
from core.calibration.job import CalibrationJob
from core.calibration.look_alikes import closest
from core.calibration.progress import ProgressWatch
from core.config.settings import Settings
from core.domain.decisions import Rule
from core.domain.faces import PackInfo
from core.faces.engine import FaceEngine
from core.ledger.ledger import Ledger
from core.services.service import RobiService
from core.store.hybrid import HybridVectorStore
from tests.galleries import Gallery, fill

EACH = 5  # templates of a person
RULE = Rule(0.4, 0.05, 0.05)
SEARCHED = 10_000  # templates while searches are measured
SEARCHES = 1000
T = TypeVar("T")
STEPS = ("read", "calibrate", "look-alikes", "map", "all", "raw product")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--dimension", type=int, default=128)
    arguments.add_argument("--templates", type=int, nargs="+", default=[1000, 10_000, 100_000])
    chosen = arguments.parse_args()
    print(
        f"seconds, {chosen.dimension} numbers, {EACH} templates a person, {IMPOSTORS:,} impostor comparisons"
    )
    print(f"{'templates':>10}" + "".join(f"{name:>14}" for name in STEPS))
    for templates in chosen.templates:
        with tempfile.TemporaryDirectory() as folder, threadpool_limits(1, user_api="blas"):
            row = measure(Path(folder), templates, chosen.dimension)
        print(f"{templates:>10,}" + "".join(f"{seconds:>14.2f}" for seconds in row), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        beside_searches(Path(folder))


def measure(folder: Path, templates: int, dimension: int) -> list[float]:
    pack = PackInfo("open", "", dimension, "")
    ledger = Ledger.open(folder / "ledger.db", pack)
    try:
        fill(ledger, Gallery(templates // EACH, EACH, dimension))
        gallery, reading = timed(lambda: read(ledger, dimension))
        _, calibrating = timed(
            lambda: of_gallery(gallery, pack, RULE, impostors=IMPOSTORS, seed=0, watch=ProgressWatch())
        )
        _, raw = timed(lambda: product(gallery.faces))
        _, pairs = timed(lambda: closest(gallery.faces))
        _, drawing = timed(lambda: embedding_map(ledger, gallery))
    finally:
        ledger.close()
    return [reading, calibrating, pairs, drawing, reading + calibrating + pairs + drawing, raw]


def product(faces: Faces) -> None:
    most = min(faces.templates, score_blocks.MOST_COMPARISONS // faces.templates)
    for rows in score_blocks.blocks(np.arange(most), faces.templates):
        faces.vectors[rows] @ faces.vectors.T


def beside_searches(folder: Path) -> None:
    """p50 and p95 of one client's searches, alone, beside calibrations, and alone again."""
    settings = Settings(_env_file=None, robi_data_dir=folder)
    engine = FaceEngine.open(settings)
    ledger = Ledger.open(folder / "ledger.db", engine.pack)
    gallery = Gallery(SEARCHED // EACH, EACH, engine.pack.dimension)
    fill(ledger, gallery)
    store = HybridVectorStore.open(settings, ledger.feed, engine.pack, folder)
    service = RobiService.open(settings, engine, ledger, store)
    calibrations = CalibrationJob(service)
    probes, _ = gallery.known(gallery.vectors(), SEARCHES)
    try:
        while any(state.progress is not None for state in store.states()):
            time.sleep(0.1)
        searched(service, probes, nothing)  # warms up
        print(f"\n{'searches':>14}{'p50 ms':>10}{'p95 ms':>10}")
        faces = read(ledger, engine.pack.dimension).faces
        for name, between in (
            ("alone", nothing),
            ("beside raw", partial(keep_multiplying, faces)),
            ("beside", partial(keep, calibrations)),
            ("alone again", nothing),
        ):
            latencies = searched(service, probes, between)
            calibrations.cancel()
            p50, p95 = np.percentile(latencies, [50, 95])
            print(f"{name:>14}{p50:>10.2f}{p95:>10.2f}")
            while calibrations.progress() is not None:
                time.sleep(0.01)
    finally:
        calibrations.close()
        for part in (service, store, ledger, engine):
            part.close()


def nothing() -> None:
    """Beside the searches."""


def keep_multiplying(faces: Faces) -> None:
    """A thread is always busy with products alone."""
    if not any(thread.name == "products" for thread in threading.enumerate()):
        threading.Thread(target=product, args=(faces,), name="products", daemon=True).start()


def keep(calibrations: CalibrationJob) -> None:
    """One is always running."""
    if calibrations.progress() is None:
        calibrations.start()


def searched(service: RobiService, probes: np.ndarray, between: Callable[[], None]) -> list[float]:
    latencies = []
    for probe in probes:
        between()
        started = time.perf_counter()
        service.store.search(probe, counted=False)
        latencies.append(1e3 * (time.perf_counter() - started))
    return latencies


def timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


if __name__ == "__main__":
    main()
