"""Compares the three strategies on the gallery in use, against an exact search of the same probes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import Unusable
from core.metrics import percentiles
from core.service import RobiService
from core.types import Decision, Embedding, Embeddings, HotSet, SearchResult, Strategy

SIMILARITY = 0.72  # of a perturbed probe to its template: the median genuine pair of the open pack
STRANGERS = 0.2  # share of probes who are nobody in the gallery
MAX_GALLERY = 200_000  # templates that the exact search holds in memory


@dataclass(frozen=True, slots=True)
class StrategyRow:
    """One strategy over all probes. `agreement`: same decision and same person as the exact search."""

    strategy: Strategy
    n: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    recall_at_1: float | None  # of the probes whose person is known; None without any
    agreement: float
    sources: Mapping[str, float]  # share of accepted winners by source
    latencies_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class BenchmarkRun:
    rows: tuple[StrategyRow, ...]
    probes: int
    gallery_templates: int
    dimension: int
    seed: int


@dataclass(frozen=True, slots=True)
class _Truth:
    decision: Decision
    user_id: str | None


def compare(
    service: RobiService, probe: Embedding, *, k: int = 5, threshold: float | None = None
) -> Mapping[Strategy, SearchResult]:
    """One probe through each strategy. Not counted among the live searches."""
    return {
        strategy: service.store.search(probe, k=k, strategy=strategy, threshold=threshold, counted=False)
        for strategy in Strategy
    }


def run(
    service: RobiService,
    probes: int,
    *,
    k: int = 5,
    seed: int = 0,
    progress: Callable[[float], None] = lambda _share: None,
) -> BenchmarkRun:
    """Send perturbed gallery templates, and strangers, through each strategy one at a time.

    The strategies take turns probe by probe, so that a busy moment of the machine meets all of them.

    Raises:
        Unusable: empty_gallery.
    """
    gallery = service.ledger.hot_set(MAX_GALLERY)
    if not gallery.count:
        raise Unusable(
            "empty_gallery", "Nobody is enrolled yet.", "Enroll somebody or load the demo gallery."
        )
    rng = np.random.default_rng(seed)
    batch = _probes(gallery.vectors, probes, rng)
    truths = [_exact(service, gallery, probe) for probe in batch]
    results: dict[Strategy, list[SearchResult]] = {strategy: [] for strategy in Strategy}
    for number, probe in enumerate(batch):
        for strategy, result in compare(service, probe, k=k).items():
            results[strategy].append(result)
        progress((number + 1) / len(batch))
    rows = tuple(_row(strategy, found, truths) for strategy, found in results.items())
    return BenchmarkRun(rows, len(batch), gallery.count, gallery.vectors.shape[1], seed)


def _probes(vectors: Embeddings, count: int, rng: np.random.Generator) -> Embeddings:
    """Unit vectors at SIMILARITY to a random template, and some in random directions."""
    known = count - round(count * STRANGERS)
    near = vectors[rng.integers(len(vectors), size=known)]
    noise = rng.standard_normal((known, vectors.shape[1]))
    noise -= (noise * near).sum(
        axis=1, keepdims=True
    ) * near  # only what is at right angles changes the angle
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    strangers = rng.standard_normal((count - known, vectors.shape[1]))
    strangers /= np.linalg.norm(strangers, axis=1, keepdims=True)
    probes = np.vstack([SIMILARITY * near + np.sqrt(1 - SIMILARITY**2) * noise, strangers])
    return rng.permutation(probes).astype(np.float32)


def _exact(service: RobiService, gallery: HotSet, probe: Embedding) -> _Truth:
    """The numpy oracle: every template is compared; of equal people the first ID counts."""
    similarities = gallery.vectors @ probe
    people = np.flatnonzero(np.diff(gallery.persons, prepend=-1))  # where the templates of each begin
    best = np.sort(np.maximum.reduceat(similarities, people))[::-1]
    decision = service.rule().decide(best[:2].tolist())
    if decision is Decision.UNKNOWN:
        return _Truth(decision, None)
    winners = gallery.ids[similarities == best[0]].tolist()
    return _Truth(decision, min(t.user_id for t in service.ledger.resolve(winners).values()))


def _row(strategy: Strategy, results: Sequence[SearchResult], truths: Sequence[_Truth]) -> StrategyRow:
    ms = [result.timings.total for result in results]
    p = percentiles(ms)
    pairs = list(zip(results, truths, strict=True))
    known = [(result, truth) for result, truth in pairs if truth.user_id]
    found = sum(bool(result.best and result.best.user_id == truth.user_id) for result, truth in known)
    accepted = Counter(r.best.source.value for r in results if r.decision is Decision.MATCH and r.best)
    total = sum(accepted.values())
    return StrategyRow(
        strategy=strategy,
        n=len(results),
        p50_ms=p["p50"],
        p95_ms=p["p95"],
        p99_ms=p["p99"],
        recall_at_1=found / len(known) if known else None,
        agreement=sum(_agrees(result, truth) for result, truth in pairs) / len(pairs),
        sources={source: count / total for source, count in sorted(accepted.items())},
        latencies_ms=tuple(round(value, 3) for value in ms),
    )


def _agrees(result: SearchResult, truth: _Truth) -> bool:
    if result.decision is not truth.decision:
        return False
    return truth.user_id is None or bool(result.best and result.best.user_id == truth.user_id)
