"""The hybrid store beside the raw libraries that it rests on, in one run.

    python -m tests.bench_store [--people 20000] [--dimension 512] [--json FILE]

Absolute figures depend on the machine; the ratios are what to look at. Where a raw call is named, it is the
bare library on the same vectors: what a search costs before anybody knows who it found.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import qdrant_edge as edge

from core.config.settings import Settings
from core.domain.decisions import Rule
from core.domain.faces import Embeddings, PackInfo
from core.domain.search import Decision, SearchResult, Strategy
from core.domain.vectors import unit_rows
from core.ledger.ledger import Ledger
from core.store.hybrid import HybridVectorStore
from core.store.search.batching import ProbeBatch
from core.store.search.plan import Plan
from core.store.search.search import Search
from core.store.tiers.edge.child import HNSW
from core.store.tiers.edge.generations import Generations
from core.store.tiers.edge.wire import SEARCH_EF
from core.store.tiers.faiss.index_snapshot import candidates
from tests.galleries import Gallery, fill

EACH = 5
PROBES = 1000
ROUNDS = 5  # of as many calls; their medians' median is reported
CALLS = 200
PEOPLE = 5  # asked for
DEPTH = 2 * PEOPLE + 8  # templates that a search for five people asks a tier for
BATCH = 64
CLIENTS = 100
CLIENT_SECONDS = 4.0
RULE = Rule(0.40, 0.05, 0.04)

Call = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `ratio` is against what `to` names, `must` what it has to be."""

    what: str
    value: float
    unit: str
    ratio: float | None = None
    to: str = ""
    must: str = ""
    note: str = ""

    def line(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:6.2f} x {self.to}"
        return f"{self.what:44} {self.value:9.3f} {self.unit:5} {ratio:34} {self.must:20} {self.note}"


@dataclass(frozen=True, slots=True, eq=False)
class Stand:
    """A store with a gallery in it, and the same vectors for the raw libraries."""

    gallery: Gallery
    vectors: Embeddings
    store: HybridVectorStore
    ledger: Ledger
    directory: Path
    known: Embeddings
    persons: np.ndarray
    strangers: Embeddings
    seconds_to_serve: float
    seconds_to_warm: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--graph-seconds", type=float, default=900.0, help="to wait for Qdrant's HNSW graph")
    chosen = parser.parse_args()
    gallery = Gallery(chosen.people, EACH, chosen.dimension)
    shape = f"{gallery.people} people x {EACH} templates x {gallery.dimension}"
    print(f"{shape}, {faiss.omp_get_max_threads()} cores")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name, stand(gallery, Path(name), chosen.graph_seconds) as it:
        for part in (starting, hot_search, recall, strategies, one_client, many_clients):
            for figure in part(it):
                figures.append(figure)
                print(figure.line(), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")


@contextmanager
def stand(gallery: Gallery, directory: Path, graph_seconds: float) -> Iterator[Stand]:
    """Fill the ledger, let both tiers follow, wait for the graph, start again, and give what came of it."""
    settings = Settings(
        _env_file=None, qdrant_url="", use_gpu="false", faiss_cache_size=2 * gallery.templates
    )
    pack = PackInfo("bench", "00", gallery.dimension, "none")
    ledger = Ledger.open(directory / "ledger.db", pack)
    fill(ledger, gallery)
    store = HybridVectorStore.open(settings, ledger.feed, pack, directory)
    wait(lambda: all(state.ok and not state.lag for state in store.states()), 900.0)
    wait(lambda: settled(store), graph_seconds)
    store.close()
    ledger.close()
    started = time.perf_counter()
    ledger = Ledger.open(directory / "ledger.db", pack)
    store = HybridVectorStore.open(settings, ledger.feed, pack, directory)
    try:
        probe = gallery.strangers(1)[0]
        wait(lambda: bool(store.search(probe, strategy=Strategy.QDRANT_ONLY, counted=False).tiers), 60.0)
        serving = time.perf_counter() - started
        wait(lambda: all(state.ok and state.progress is None for state in store.states()), 300.0)
        warm = time.perf_counter() - started
        vectors = gallery.vectors()
        known, persons = gallery.known(vectors, PROBES)
        yield Stand(
            gallery,
            vectors,
            store,
            ledger,
            directory,
            known,
            persons,
            gallery.strangers(PROBES),
            serving,
            warm,
        )
    finally:
        store.close()
        ledger.close()


def settled(store: HybridVectorStore) -> bool:
    """Whether Qdrant builds nothing and needs nothing built."""
    info = store.cold_info()
    return not info["building"] and (info["points"] < 20_000 or "HNSW" in info["index"])


def wait(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            print(f"gave up waiting after {seconds:g} s")
            return
        time.sleep(0.05)


# ---------------------------------------------------------------- parts


def starting(it: Stand) -> Iterator[Figure]:
    million = it.gallery.templates >= 1_000_000
    yield Figure("start: serving", it.seconds_to_serve, "s", must=f"<= {5 if million else 3} s")
    yield Figure("start: hot tier ready", it.seconds_to_warm, "s", must=f"<= {40 if million else 5} s")
    memory = it.store.get_performance_metrics()["memory"]
    yield Figure("hot tier, memory for a template", memory["hot_bytes_per_template"], "bytes")
    yield Figure("Qdrant", float(it.store.cold_info()["points"]), "", note=str(it.store.cold_info()["index"]))


def hot_search(it: Stand) -> Iterator[Figure]:
    """The hot tier alone, the whole search, and the raw calls."""
    hot, flat = it.store.hot, raw_flat(it.vectors)
    assert hot is not None
    raw = raw_index(it)
    calls: dict[str, Call] = {
        "raw index and exact comparison": raw,
        "raw IndexFlatIP": lambda n: flat(it.known[n : n + 1]),
        "hot tier": lambda n: hot.search(it.known[n : n + 1], DEPTH),
        "faiss_first, named people": lambda n: it.store.search(it.known[n], strategy=Strategy.FAISS_FIRST),
        "the join alone": lambda n: it.ledger.feed.resolve(range(DEPTH * n + 1, DEPTH * n + PEOPLE + 2)),
    }
    p50, all_ms = side_by_side(calls)
    base = p50["raw index and exact comparison"]
    for name, ms in p50.items():
        p95, p99 = np.percentile(all_ms[name], (95, 99))
        must = "<= 1.25 x raw" if name == "hot tier" else ""
        note = f"p95 {p95:.3f}, p99 {p99:.3f} ms; {p50['raw IndexFlatIP'] / ms:.1f} x faster than Flat"
        yield Figure(f"{name} ({hot.kind})", ms, "ms", ms / base, "raw index", must, note)


def recall(it: Stand) -> Iterator[Figure]:
    """Against an exact search by numpy over the same vectors."""
    for strategy in Strategy:
        known = it.store.search_batch(it.known, k=PEOPLE, strategy=strategy)
        unknown = it.store.search_batch(it.strangers, k=PEOPLE, strategy=strategy)
        truth, truth_unknown = exact(it, it.known), exact(it, it.strangers)
        right = np.mean([first(r) == t[0][0] for r, t in zip(known, truth, strict=True)])
        same = [agrees(r, t) for r, t in zip([*known, *unknown], [*truth, *truth_unknown], strict=True)]
        five = np.mean([overlap(r, t) for r, t in zip(known, truth, strict=True)])
        must = ">= 0.99" if strategy is Strategy.QDRANT_ONLY else ">= 0.999"
        yield Figure(f"recall@1, {strategy}", float(right), "", must=must, note=f"{len(known)} known probes")
        yield Figure(f"recall@5, {strategy}", float(five), "")
        yield Figure(
            f"decision as exact, {strategy}",
            float(np.mean(same)),
            "",
            note=f"{len(same)}, half of them strangers",
        )


def strategies(it: Stand) -> Iterator[Figure]:
    raw = raw_edge(it)
    hot = it.store.hot
    assert hot is not None
    calls: dict[str, Call] = {"raw Edge in this process": raw}
    for strategy in Strategy:
        calls[str(strategy)] = lambda n, s=strategy: it.store.search(it.known[n], strategy=s)
    p50, all_ms = side_by_side(calls)
    for name, ms in p50.items():
        p95, p99 = np.percentile(all_ms[name], (95, 99))
        ratio, to, must = None, "", ""
        if name == "qdrant_only":
            to, must = "raw Edge", f"+{ms - p50['raw Edge in this process']:.2f} ms; <= +0.6"
            ratio = ms / p50["raw Edge in this process"]
        if name == "hybrid":
            ratio, to, must = ms / max(p50["qdrant_only"], p50["faiss_first"]), "slower tier", "<= 1.3"
        yield Figure(name, ms, "ms", ratio, to, must, f"p95 {p95:.3f}, p99 {p99:.3f} ms")


def unbatched(it: Stand) -> Call:
    """What `search` does, without the queue in front; counted, as every search is."""
    plan = Plan(Strategy.FAISS_FIRST, it.store.rule(), PEOPLE, SEARCH_EF)
    direct = Search(it.store.tiers, it.store.hot, it.ledger.feed)

    def search(n: int) -> object:
        rows = unit_rows([it.known[n]], it.gallery.dimension)
        outcomes = direct.run(ProbeBatch(rows, plan, (time.perf_counter(),)))
        it.store.metrics.searches([outcome.result for outcome in outcomes])
        return outcomes

    return search


def one_client(it: Stand) -> Iterator[Figure]:
    """A single client through the queue in front, and without it."""
    p50, _ = side_by_side(
        {
            "no batching": unbatched(it),
            "batching": lambda n: it.store.search(it.known[n], strategy=Strategy.FAISS_FIRST),
        }
    )
    ratio = p50["batching"] / p50["no batching"]
    yield Figure("one client, batching", p50["batching"], "ms", ratio, "no batching", "<= 1.1")


def many_clients(it: Stand) -> Iterator[Figure]:
    """A hundred threads, each sending its next search as soon as the last one is answered."""
    limit, batched = raw_batched(it), f"raw batches of {BATCH}"
    yield Figure(batched, limit, "/s", note="index and exact comparison, the best number of threads")
    for strategy in (Strategy.FAISS_FIRST, Strategy.HYBRID):
        rate, ms = crowd(lambda n, s=strategy: it.store.search(it.known[n], strategy=s), it)
        p50, p99 = np.percentile(ms, (50, 99))
        must = ">= 0.85" if strategy is Strategy.FAISS_FIRST else ""
        note = f"p50 {p50:.1f}, p99 {p99:.1f} ms"
        yield Figure(f"{CLIENTS} threads, {strategy}", rate, "/s", rate / limit, batched, must, note)
    rate, ms = crowd(unbatched(it), it)
    p50, p99 = np.percentile(ms, (50, 99))
    note = f"p50 {p50:.1f}, p99 {p99:.1f} ms"
    yield Figure(f"{CLIENTS} threads, no batching", rate, "/s", rate / limit, batched, "", note)


# ---------------------------------------------------------------- measuring


def side_by_side(calls: dict[str, Call]) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Milliseconds of each call, which take turns round by round: medians of medians, and all of them."""
    everything: dict[str, list[float]] = {name: [] for name in calls}
    medians: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for n in range(20):
            call(n)
    for number in range(ROUNDS):
        for name, call in calls.items():
            times = []
            for n in range(number * CALLS % PROBES, number * CALLS % PROBES + CALLS):
                started = time.perf_counter()
                call(n % PROBES)
                times.append(1e3 * (time.perf_counter() - started))
            medians[name].append(float(np.median(times)))
            everything[name] += times
    return {name: float(np.median(found)) for name, found in medians.items()}, everything


def crowd(call: Call, it: Stand) -> tuple[float, list[float]]:
    """Calls a second by many threads, and the milliseconds of each."""
    end = time.perf_counter() + CLIENT_SECONDS
    start = threading.Barrier(CLIENTS)

    def client(number: int) -> list[float]:
        times, n = [], number * 97
        start.wait()
        while (began := time.perf_counter()) < end:
            call(n % PROBES)
            times.append(1e3 * (time.perf_counter() - began))
            n += 1
        return times

    with ThreadPoolExecutor(CLIENTS) as pool:
        found = [ms for times in pool.map(client, range(CLIENTS)) for ms in times]
    return len(found) / CLIENT_SECONDS, found


# ---------------------------------------------------------------- the raw libraries


def raw_flat(vectors: Embeddings) -> Callable[[Embeddings], object]:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    faiss.omp_set_num_threads(1)
    return lambda probes: index.search(probes, DEPTH)


def raw_index(it: Stand) -> Call:
    """The very index in use, called as FAISS offers it, and its proposals compared exactly."""
    found = raw_call(it)
    faiss.omp_set_num_threads(1)
    return lambda n: found(it.known[n : n + 1])


def raw_call(it: Stand) -> Callable[[Embeddings], object]:
    assert it.store.hot is not None
    view = it.store.hot.snapshot
    if view.index is None:
        return raw_flat(it.vectors)
    index: Any = view.index.faiss_index
    wanted = candidates(DEPTH * view.index.spread, view.sealed.rows)
    rows = view.rows.vectors[: view.used]

    def search(probes: Embeddings) -> object:
        places = index.search(probes, wanted)[1]
        similarities = np.empty(places.shape, np.float32)
        faiss.fvec_inner_products_by_idx(
            faiss.swig_ptr(similarities),
            faiss.swig_ptr(probes),
            faiss.swig_ptr(rows),
            faiss.swig_ptr(places),
            probes.shape[1],
            *places.shape,
        )
        order = np.argpartition(-similarities, DEPTH, axis=1)[:, :DEPTH]
        return np.take_along_axis(places, order, 1), np.take_along_axis(similarities, order, 1)

    return search


def raw_batched(it: Stand) -> float:
    """Searches a second in full batches by the bare index: several threads of one, or one of several."""
    search = raw_call(it)
    cores = faiss.omp_get_max_threads()

    def rate(threads: int, omp: int) -> float:
        end = time.perf_counter() + CLIENT_SECONDS / 2

        def run(number: int) -> int:
            faiss.omp_set_num_threads(omp)
            done, start = 0, number * BATCH
            while time.perf_counter() < end:
                search(it.known[start : start + BATCH])
                done, start = done + BATCH, (start + BATCH) % (PROBES - BATCH)
            return done

        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(run, range(threads))) / (CLIENT_SECONDS / 2)

    return max(rate(cores, 1), rate(1, cores))


def raw_edge(it: Stand) -> Call:
    """The same Edge shard, copied and opened in this process, with the same parameters."""
    source = Generations(it.directory / "qdrant" / "face_embeddings").current()
    copy = it.directory / "raw-edge"
    shutil.copytree(source, copy)
    vectors = edge.EdgeVectorParams(size=it.gallery.dimension, distance=edge.Distance.Cosine)
    shard = edge.EdgeShard.load(str(copy), edge.EdgeConfig(vectors=vectors, hnsw_config=HNSW))
    params = edge.SearchParams(hnsw_ef=SEARCH_EF)
    rows = it.known.tolist()
    return lambda n: shard.query(
        edge.QueryRequest(limit=DEPTH, query=edge.Query.Nearest(rows[n]), params=params)
    )


# ---------------------------------------------------------------- the truth


def exact(it: Stand, probes: Embeddings) -> list[list[tuple[int, float]]]:
    """The best people and their similarities for each probe, by numpy over every template."""
    found = []
    for start in range(0, len(probes), BATCH):
        similarities = probes[start : start + BATCH] @ it.vectors.T
        best = similarities.reshape(len(similarities), it.gallery.people, EACH).max(axis=2)
        order = np.argpartition(-best, PEOPLE, axis=1)[:, :PEOPLE]
        for row, chosen in zip(best, order, strict=True):
            ranked = sorted(chosen.tolist(), key=lambda person, row=row: -row[person])
            found.append([(person, float(row[person])) for person in ranked])
    return found


def first(result: SearchResult) -> int | None:
    return int(result.best.user_id.removeprefix("p")) - 1 if result.best else None


def overlap(result: SearchResult, truth: Sequence[tuple[int, float]]) -> float:
    mine = {int(candidate.user_id.removeprefix("p")) - 1 for candidate in result.candidates}
    return len(mine & {person for person, _ in truth}) / PEOPLE


def agrees(result: SearchResult, truth: Sequence[tuple[int, float]]) -> bool:
    """The same decision and, unless that is unknown, the same person."""
    decision = RULE.decide([similarity for _, similarity in truth[:2]])
    same = result.decision is decision
    return same and (decision is Decision.UNKNOWN or first(result) == truth[0][0])


if __name__ == "__main__":
    main()
