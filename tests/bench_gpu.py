"""The GPU index beside FAISS called raw, the CPU, and what the card's memory allows, in one run.

    python -m tests.bench_gpu [templates ...]

Without arguments 100 thousand and a million templates, in a minute. Ten million take two more, 64 GB of main
memory and 40 GB of the card's; the smaller come first, so that a run that is cut short has said something.

The index is searched as the hot tier does it: a child process proposes by two-byte numbers, float32 rows in
main memory decide. A search reads the whole gallery at least once, so the time that takes at the card's own
speed is the floor for one probe; that speed is measured here, by copying within the card. With large batches
arithmetic is the limit instead.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np

from core.domain.faces import Embeddings
from core.store.tiers.faiss.candidate_index import (
    Built,
    CandidateIndex,
    GpuOptions,
    GpuUnavailable,
    IndexOptions,
)
from core.store.tiers.faiss.gpu.card import HALF
from core.store.tiers.faiss.gpu.driver import CardFull, Driver, NoCard
from core.store.tiers.faiss.gpu.index import flat
from core.store.tiers.faiss.index import build
from core.store.tiers.faiss.index_snapshot import IndexSnapshot, Sealed
from core.store.tiers.faiss.vector_table import VectorTable
from tests.unit.store.kit import unit

DIMENSION = 512
SIZES = (100_000, 1_000_000)
BATCHES = (1, 64, 1024)
DEPTH = 18  # templates that a search for five people asks the hot tier for
ROUNDS = 100
SECONDS = 1.0  # that the rounds of one figure take at most
PATIENCE = 5.0  # seconds that one call on the CPU may take
DEARER = 20  # times: a batch compared with the next smaller one, on the CPU
PROBES = 1024
JUDGED = 256  # of the probes, against an exact scan on the CPU, and
JUDGED_IN_MANY = 32  # where that takes seconds
MANY = 2_000_000  # templates
CANDIDATES = 128  # that the hot tier compares exactly for it
COPIED = 4 << 30
CHUNK = 100_000
GIGA = 1e9


def gallery_of(templates: int) -> Embeddings:
    """Random rows of length 1, made by all processors."""
    rows = np.empty((templates, DIMENSION), np.float32)

    def fill(start: int) -> None:
        part = rows[start : start + CHUNK]
        np.random.default_rng(start).standard_normal(out=part, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill, range(0, templates, CHUNK)))
    return rows


def probes_of(gallery: Embeddings) -> Embeddings:
    """Other looks at faces of the gallery (similarity about 0.93), and in every other line strangers."""
    random = np.random.default_rng(7)
    probes = random.standard_normal((PROBES, DIMENSION)).astype(np.float32)
    known = random.integers(0, len(gallery), PROBES // 2)
    probes[::2] = gallery[known] + 0.4 / np.sqrt(DIMENSION) * probes[::2]
    return unit(probes)


def bandwidth(driver: Driver) -> float:
    """Bytes a second, read and written, of the best of several large copies within the card."""
    source, target = driver.allocate(COPIED), driver.allocate(COPIED)
    times = []
    for _ in range(10):
        started = time.perf_counter()
        driver.copy(target, source, COPIED)
        driver.wait()
        times.append(time.perf_counter() - started)
    driver.free(source)
    driver.free(target)
    return 2 * COPIED / min(times)


def timed(call: Callable[[Embeddings], object], probes: Embeddings, batch: int) -> list[float]:
    """Seconds per call, each with other probes."""
    call(_some(probes, 0, batch))
    times: list[float] = []
    while len(times) < ROUNDS and sum(times) < SECONDS:
        part = _some(probes, len(times) * batch, batch)
        started = time.perf_counter()
        call(part)
        times.append(time.perf_counter() - started)
    return times


def _some(probes: Embeddings, start: int, batch: int) -> Embeddings:
    start %= max(1, len(probes) - batch + 1)
    return probes[start : start + batch]


def line(name: str, batch: int, times: list[float], size: int = 0, limit: float = 1.0) -> str:
    """`size`: bytes of the card's memory that a call reads at least."""
    p50, p95 = np.percentile(times, (50, 95))
    speed = f"{size / p50 / GIGA:6.0f} {size / p50 / limit:5.0%}" if size else f"{'':12}"
    return (
        f"{name:34} {batch:5} {1e3 * p50:10.3f} {1e3 * p95:10.3f} {batch / p50:11.0f} {speed} {len(times):6}"
    )


def raw_index(gallery: Embeddings) -> tuple[object, Callable[[Embeddings], np.ndarray]]:
    """FAISS's own flat float16 index, in this process."""
    resources = faiss.StandardGpuResources()
    config = faiss.GpuIndexFlatConfig()
    config.useFloat16 = True
    index = faiss.GpuIndexFlatIP(resources, DIMENSION, config)
    for start in range(0, len(gallery), len(gallery) // 4):
        index.add(gallery[start : start + len(gallery) // 4])
    return (index, resources), lambda probes: index.search(probes, DEPTH)[1]


def view_on(gallery: Embeddings, index: CandidateIndex | None) -> IndexSnapshot:
    ids = np.arange(len(gallery))
    rows = VectorTable(ids, ids, gallery, len(gallery))
    return IndexSnapshot(rows, rows.used, Sealed(Built(index), rows.used if index else 0, rows.used))


def recalls(view: IndexSnapshot, raw: np.ndarray, gallery: Embeddings, probes: Embeddings) -> str:
    """Share of probes whose best template is the one of an exact float32 scan."""
    judged = JUDGED if len(gallery) <= MANY else JUDGED_IN_MANY
    probes, raw = probes[:judged], raw[:judged]
    best = faiss.knn(probes, gallery, 1, faiss.METRIC_INNER_PRODUCT)[1][:, 0]
    ours = np.array([hits[0].template_id for hits in view.search(probes, DEPTH)])
    same, plain = ours == best, raw[:, 0] == best
    return (
        f"recall@1 of {len(probes)} probes: known {same[::2].mean():.4f}, strangers {same[1::2].mean():.4f};"
        f" raw float16 alone {plain[::2].mean():.4f}, {plain[1::2].mean():.4f}"
    )


def measure(templates: int, limit: float) -> None:
    started = time.perf_counter()
    gallery = gallery_of(templates)
    probes = probes_of(gallery)
    made = time.perf_counter()
    index = flat(gallery, GpuOptions(0, 0.95))
    built = time.perf_counter()
    size = templates * DIMENSION * HALF
    print(
        f"\n{templates} x {DIMENSION} on the card: {size / GIGA:.2f} GB, read in {1e3 * size / limit:.3f} ms"
    )
    print(f"made in {made - started:.1f} s, on the card in {built - made:.1f} s")
    print(f"{'':34} batch     p50 ms     p95 ms   queries/s   GB/s  of it rounds")
    view = view_on(gallery, index)
    keep, raw = raw_index(gallery)
    calls: dict[str, Callable[[Embeddings], object]] = {
        "raw GpuIndexFlatIP, float16": raw,
        "the index in its child process": lambda part: index.search(part, CANDIDATES, None),
        "the same, decided by float32": lambda part: view.search(part, DEPTH),
    }
    for batch in BATCHES:
        for name, call in calls.items():
            print(line(name, batch, timed(call, probes, batch), size, limit), flush=True)
    print(recalls(view, raw(probes), gallery, probes), flush=True)
    index.close()
    del keep, raw
    on_cpu(gallery, probes)


def on_cpu(gallery: Embeddings, probes: Embeddings) -> None:
    """What the hot tier does without a card: PQfs as a rule, an exact scan if asked for."""
    processors = os.cpu_count() or 1
    views = {"Flat": view_on(gallery, None)}
    if len(gallery) <= MANY:
        started = time.perf_counter()
        views["PQfs"] = view_on(gallery, build(IndexOptions(), gallery).index)
        print(f"PQfs built in {time.perf_counter() - started:.1f} s by one processor")
    faiss.omp_set_num_threads(processors)
    for name, view in views.items():
        for batch in BATCHES:
            times = timed(lambda p, view=view: view.search(p, DEPTH), probes, batch)
            print(line(f"CPU {name}, {processors} processors", batch, times), flush=True)
            if DEARER * np.median(times) > PATIENCE:
                break


def main(sizes: Sequence[int]) -> int:
    try:
        driver = Driver(0)
    except NoCard as problem:
        print(f"skipped: {problem}")
        return 0
    if not hasattr(faiss, "StandardGpuResources"):
        print("skipped: the FAISS installed here is the one for CPUs")
        return 0
    memory = driver.memory()
    limit = bandwidth(driver)
    print(f"{driver.name}, {memory.total / GIGA:.1f} GB, driver for CUDA {driver.version}")
    print(f"FAISS {faiss.__version__}, Python {platform.python_version()}, {os.cpu_count()} processors")
    print(f"a copy within the card moves {limit / GIGA:.0f} GB/s, read and written: the limit below")
    for templates in sorted(sizes):
        started = time.perf_counter()
        try:
            measure(templates, limit)
            print(f"{templates} templates took {time.perf_counter() - started:.0f} s", flush=True)
        except (CardFull, GpuUnavailable, MemoryError, RuntimeError) as problem:
            print(f"{templates} x {DIMENSION}: not measured: {problem}")
    return 0


if __name__ == "__main__":
    sys.exit(main([int(argument) for argument in sys.argv[1:]] or SIZES))
