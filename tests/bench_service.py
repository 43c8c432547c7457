"""Measures whole use-cases beside bare `FaceAnalysis.get`, by turns in one run.

    python -m tests.bench_service [--repeat 60] [--people 2000]

Times are medians on this machine; the ratio to `FaceAnalysis.get` on the same picture is what to compare.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from insightface.app import FaceAnalysis

from core.config.settings import Settings
from core.domain.recognition import VerifyOptions
from core.domain.search import Strategy
from core.domain.templates import NewTemplate
from core.faces.engine import FaceEngine
from core.faces.models import open_models
from core.ledger.ledger import Ledger
from core.live import LiveSessions
from core.services.demo import demo_photos
from core.services.service import RobiService
from core.store.hybrid import HybridVectorStore


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeat", type=int, default=60)
    arguments.add_argument("--people", type=int, default=2000)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), chosen.repeat, chosen.people)


def measure(folder: Path, repeat: int, people: int) -> None:
    settings = Settings(_env_file=None, robi_data_dir=folder)
    models = open_models(settings)
    engine = FaceEngine(models)
    ledger = Ledger.open(folder / "ledger.db", engine.pack)
    store = HybridVectorStore.open(settings, ledger.feed, engine.pack, folder)
    service = RobiService.open(settings, engine, ledger, store)
    try:
        fill(service, people)
        report(service, models.app, repeat)
    finally:
        for part in (service, store, ledger, engine):
            part.close()


def fill(service: RobiService, people: int) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((people, 3, service.engine.pack.dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    for number, own in enumerate(vectors):
        service.ledger.people.enroll(
            f"p{number}", f"Person {number}", [NewTemplate(v, 0.9, "api") for v in own]
        )
    service.store.sync(service.ledger.feed.head())


def report(service: RobiService, bare: FaceAnalysis, repeat: int) -> None:
    frame = cv2.resize(cv2.imread(str(demo_photos()[-1].path))[0:320, 0:427], (640, 480))
    jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    service.enrollment.enroll("eileen", "Eileen Collins", [("a.jpg", jpeg)])
    session = LiveSessions(service).open_verify(VerifyOptions(Strategy.HYBRID, 0.4))
    numbers = iter(range(10**6))

    def enroll_one() -> None:
        service.enrollment.enroll(
            f"new-{next(numbers)}", "New Person", [("a.jpg", jpeg)], allow_duplicate=True
        )

    calls: dict[str, Callable[[], object]] = {
        "FaceAnalysis.get, bare": lambda: bare.get(frame),
        "decode a 640×480 JPEG": lambda: service.pictures.decode(jpeg),
        **{f"verify, {s}": lambda s=s: service.recognition.verify(jpeg, strategy=s) for s in Strategy},
        "verify, 1:1": lambda: service.recognition.verify(jpeg, user_id="eileen"),
        "live frame": lambda: session.process(jpeg),
        "enroll, one photo": enroll_one,
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            times[name].append((time.perf_counter() - started) * 1e3)
    alone = statistics.median(times["FaceAnalysis.get, bare"])
    print(f"{service.ledger.feed.counts().templates} templates, {repeat} turns")
    for name, ms in times.items():
        median, p95 = statistics.median(ms), float(np.percentile(ms, 95))
        print(f"{name:24} median {median:7.2f} ms   p95 {p95:7.2f} ms   {median / alone:5.2f} x bare get")
    print("by stage, median ms:")
    for stage, values in sorted(service.monitor.stats()["latency"]["by_stage"].items()):
        print(f"  {stage:8} {values['p50']:7.2f}")


if __name__ == "__main__":
    main()
