"""How search time, recall and memory grow with the gallery. Writes docs/benchmarks.md and its figure.

    python -m tests.bench_growth [--templates 10000 100000 1000000] [--dimension 128]

A million templates take long, most of it Qdrant's HNSW graph.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import matplotlib as mpl
import numpy as np
import psutil

from core.domain.search import Strategy
from tests.bench_store import EACH, PEOPLE, Stand, agrees, exact, first, side_by_side, stand
from tests.galleries import Gallery

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.ticker import ScalarFormatter

DOCS = Path(__file__).resolve().parents[1] / "docs"
COLOURS = {Strategy.HYBRID: "#2563eb", Strategy.FAISS_FIRST: "#d97706", Strategy.QDRANT_ONLY: "#059669"}
GRAPH_SECONDS = 2400.0


@dataclass(frozen=True, slots=True)
class Point:
    """One strategy at one size, in milliseconds and shares."""

    templates: int
    strategy: Strategy
    p50: float
    p95: float
    p99: float
    recall_at_1: float
    as_exact: float


@dataclass(frozen=True, slots=True)
class Size:
    """One gallery, in seconds and bytes."""

    templates: int
    serving: float
    warm: float
    bytes_each: int
    hot: str
    cold: str


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--templates", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--remark", default="", help="what a reader should know of this run")
    chosen = parser.parse_args()
    points: list[Point] = []
    sizes: list[Size] = []
    for templates in chosen.templates:
        gallery = Gallery(templates // EACH, EACH, chosen.dimension)
        with tempfile.TemporaryDirectory() as name, stand(gallery, Path(name), GRAPH_SECONDS) as it:
            sizes.append(size_of(it))
            points += points_of(it)
            print(*points[-len(Strategy) :], sizes[-1], sep="\n", flush=True)
        write(points, sizes, chosen.dimension, chosen.remark)


def points_of(it: Stand) -> list[Point]:
    calls = {
        str(strategy): (lambda n, s=strategy: it.store.search(it.known[n], strategy=s))
        for strategy in Strategy
    }
    p50, every = side_by_side(calls)
    truth, unknown = exact(it, it.known), exact(it, it.strangers)
    points = []
    for strategy in Strategy:
        found = it.store.search_batch(it.known, k=PEOPLE, strategy=strategy)
        strange = it.store.search_batch(it.strangers, k=PEOPLE, strategy=strategy)
        p95, p99 = np.percentile(every[str(strategy)], (95, 99))
        if missing := sum(bool(result.degraded) for result in [*found, *strange]):
            print(f"{strategy}: {missing} answers came without a tier: not what this strategy finds")
        right = np.mean([first(r) == t[0][0] for r, t in zip(found, truth, strict=True)])
        pairs = zip([*found, *strange], [*truth, *unknown], strict=True)
        same = np.mean([agrees(result, best) for result, best in pairs])
        times = (p50[str(strategy)], float(p95), float(p99))
        points.append(Point(it.gallery.templates, strategy, *times, float(right), float(same)))
    return points


def size_of(it: Stand) -> Size:
    hot, _ = it.store.states()
    return Size(
        it.gallery.templates,
        it.seconds_to_serve,
        it.seconds_to_warm,
        it.store.get_performance_metrics()["memory"]["hot_bytes_per_template"],
        hot.kind,
        str(it.store.cold_info()["index"]),
    )


# ---------------------------------------------------------------- the page


def write(points: Sequence[Point], sizes: Sequence[Size], dimension: int, remark: str) -> None:
    DOCS.mkdir(exist_ok=True)
    draw(points, DOCS / "growth.svg")
    (DOCS / "benchmarks.md").write_text(page(points, sizes, dimension, remark))


def draw(points: Sequence[Point], path: Path) -> None:
    mpl.rcParams["svg.hashsalt"] = "robi"  # the same figure from the same numbers
    figure, (time, recall) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for number, strategy in enumerate(Strategy):
        mine = [point for point in points if point.strategy is strategy]
        sizes = [point.templates for point in mine]
        colour = COLOURS[strategy]
        time.plot(sizes, [p.p50 for p in mine], "o-", color=colour, label=f"{strategy} p50")
        time.plot(sizes, [p.p95 for p in mine], "o:", color=colour, label=f"{strategy} p95")
        width = 7 - 3 * number  # so that equal curves are all seen
        recall.plot(sizes, [p.recall_at_1 for p in mine], "o-", color=colour, label=f"{strategy}", lw=width)
    time.set(xscale="log", yscale="log", xlabel="templates", ylabel="ms", title="Search time, one client")
    recall.set(xscale="log", ylim=(0.98, 1.001), xlabel="templates", title="recall@1 of known probes")
    for axes in (time, recall):
        axes.grid(which="major", alpha=0.3)
        axes.legend(fontsize=8, framealpha=1.0)
    time.yaxis.set_major_formatter(ScalarFormatter())
    time.yaxis.set_minor_formatter(ScalarFormatter())
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def page(points: Sequence[Point], sizes: Sequence[Size], dimension: int, remark: str) -> str:
    said = f"\n**{remark}**\n" if remark else ""
    return f"""# Benchmarks

Written by `python -m tests.bench_growth` on {datetime.now(UTC):%Y-%m-%d}: {machine()}.
Figures are of one machine; what carries over is how they compare and grow. `make bench` prints Robi beside
the bare libraries in one run, `make bench-gpu` the hot tier on NVIDIA cards.

## Growth of the gallery

Synthetic people with {EACH} templates of {dimension} numbers each, two of one person 0.72 similar as real
ones are. Known probes are new pictures of enrolled people. Time is of whole searches for the best {PEOPLE}
people, names included, one client. "As exact": same decision, and same person where there is one, as an exact
search of all templates by numpy; half of those probes are strangers.
{said}
![Search time and recall from ten thousand templates on](growth.svg)

| templates | strategy | p50 ms | p95 ms | p99 ms | recall@1 | as exact |
|---:|---|---:|---:|---:|---:|---:|
{chr(10).join(_row(point) for point in points)}

| templates | serving after | hot tier ready after | hot tier, bytes a template | FAISS index | Qdrant |
|---:|---:|---:|---:|---|---|
{chr(10).join(_size(size) for size in sizes)}
"""


def _row(point: Point) -> str:
    times = f"{point.p50:.2f} | {point.p95:.2f} | {point.p99:.2f}"
    shares = f"{point.recall_at_1:.3f} | {point.as_exact:.3f}"
    return f"| {point.templates:,} | `{point.strategy}` | {times} | {shares} |"


def _size(size: Size) -> str:
    return (
        f"| {size.templates:,} | {size.serving:.1f} s | {size.warm:.1f} s | {size.bytes_each} | {size.hot} "
        f"| {size.cold} |"
    )


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GB of memory, Python "
        f"{platform.python_version()}, FAISS {version('faiss-cpu')}, Qdrant Edge {version('qdrant-edge-py')}"
    )


if __name__ == "__main__":
    main()
