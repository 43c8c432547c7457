"""Section 3: the same probes through each strategy by turns, judged by an exact search."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from core.domain.faces import Embeddings
from core.domain.search import Decision, SearchResult, Strategy
from core.domain.system import TierState
from core.metrics import percentiles
from tests.hybrid.people import Truth, agrees, exact, strangers_of
from tests.hybrid.report import Promise, Row, Section, at_least, same
from tests.hybrid.run import Run

K = 5  # people whom a search proposes, the product's default
STRANGERS = 0.2  # share of the probes who are nobody
RECALL = 0.99  # of probes whose own person comes first
AGREEMENT = 0.99  # with the exact search, where an index approximates
EXACT_INDEXES = ("Flat", "SQfp16")  # compared again in full precision, their candidates miss nobody
SOURCES = ("faiss", "qdrant", "both")
COLUMNS = ("p50_ms", "p95_ms", "p99_ms", "recall_at_1", "agreement", *SOURCES)

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Probes:
    """The first ones are their `owners`', the rest are strangers."""

    rows: Embeddings
    owners: tuple[str, ...]
    truths: Sequence[Truth]


@dataclass(frozen=True, slots=True)
class _Answers:
    """Of one strategy, in the order of the probes; the times are the caller's."""

    results: list[SearchResult] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)


def comparison(run: Run) -> Section:
    """How fast each strategy is, and whether it is right."""
    probes = _probes(run)
    answers = _by_turns(run, probes.rows)
    floor = run.service.tuning.now.review_floor
    figures = {strategy: _figures(given, probes, floor) for strategy, given in answers.items()}
    hot = next(tier for tier in run.service.store.states() if tier.name == "faiss")
    return Section(
        "Strategy comparison",
        tuple(promise for strategy in Strategy for promise in _judged(strategy, figures[strategy], hot)),
        {"probes": len(probes.rows), "strangers": len(probes.rows) - len(probes.owners), **figures},
        _table(figures),
    )


def _probes(run: Run) -> _Probes:
    known = run.queries - round(STRANGERS * run.queries)
    chosen = run.rng.integers(len(run.people), size=known)
    strangers = strangers_of(run.rng, run.queries - known, run.people.probes.shape[1])
    rows = np.vstack([run.people.probes[chosen], strangers])
    owners = tuple(run.people.user_ids[number] for number in chosen)
    return _Probes(rows, owners, exact(run.people, rows, K, run.service.store.rule()))


def _by_turns(run: Run, rows: Embeddings) -> Mapping[Strategy, _Answers]:
    """By turns, so that a busy moment of the machine meets all strategies."""
    answers = {strategy: _Answers() for strategy in Strategy}
    for number, probe in enumerate(rows, 1):
        for strategy, given in answers.items():
            started = time.perf_counter()
            given.results.append(run.search(probe, strategy))
            given.ms.append(1e3 * (time.perf_counter() - started))
        run.progress("comparing", number, len(rows))
    return answers


def _figures(given: _Answers, probes: _Probes, floor: float) -> Figures:
    """One strategy in numbers; the sources are shares of the accepted winners."""
    results = given.results
    bests = [result.best.user_id if result.best else None for result in results]
    agreed = [agrees(result, truth, floor) for result, truth in zip(results, probes.truths, strict=True)]
    accepted = Counter(r.best.source.value for r in results if r.decision is Decision.MATCH and r.best)
    return {
        **{f"{name}_ms": value for name, value in percentiles(given.ms).items()},
        "recall_at_1": _share([best == owner for best, owner in zip(bests, probes.owners, strict=False)]),
        "agreement": _share(agreed),
        "degraded": sum(bool(result.degraded) for result in results),
        **{source: accepted[source] / max(1, accepted.total()) for source in SOURCES},
    }


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits) if hits else 1.0


def _judged(strategy: Strategy, row: Figures, hot: TierState) -> list[Promise]:
    undegraded = same(f"{strategy} is never degraded", 0, row["degraded"])
    partial = hot.coverage < 1
    if partial and strategy is Strategy.FAISS_FIRST:
        return [undegraded]  # it may accept the best of those in the cache: its known risk
    exactly = hot.kind in EXACT_INDEXES and not partial and strategy is not Strategy.QDRANT_ONLY
    words = f"{strategy} gives the exact search's decision, people and similarities"
    return [
        at_least(f"{strategy} puts the person of a known probe first", RECALL, row["recall_at_1"]),
        at_least(words, 1.0 if exactly else AGREEMENT, row["agreement"]),
        undegraded,
    ]


def _table(figures: Mapping[Strategy, Figures]) -> tuple[Row, ...]:
    rows = ((strategy, *(f"{row[column]:.3f}" for column in COLUMNS)) for strategy, row in figures.items())
    return (("strategy", *COLUMNS), *rows)
