"""What the searches of one setting at one concurrency come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from core.benchmark import statistics as stats
from core.benchmark.load_generator import LoadBlock
from core.benchmark.model import Estimate, Measurement, Setting
from core.benchmark.oracle import PEOPLE, Truth, agrees, found_first, recall
from core.benchmark.recommendation import quality
from core.domain.errors import RobiError
from core.domain.search import Decision, SearchResult
from core.metrics.counters import stages_of
from core.store.trial import Trial

Verdicts = dict[int, list[float]]
"""From 0 to 1, by the number of the probe: searches for one probe know nothing of each other's chances."""


@dataclass(slots=True, eq=False)
class Tally:
    """Collects blocks. Only judged figures stay: no candidate outlives its block."""

    setting: Setting
    concurrency: int
    k: int
    ms: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    stages: dict[str, list[float]] = field(default_factory=dict)
    sources: Counter[str] = field(default_factory=Counter)
    first: Verdicts = field(default_factory=dict)
    near: Verdicts = field(default_factory=dict)
    agreed: Verdicts = field(default_factory=dict)
    cache_wrong: Verdicts = field(default_factory=dict)
    degraded: set[str] = field(default_factory=set)

    def add(self, block: LoadBlock, truths: Sequence[Truth]) -> None:
        answered = 0
        for answer in block.answers:
            if isinstance(answer.outcome, RobiError):
                self.failures[answer.outcome.code] += 1
                continue
            answered += 1
            self._judge(answer.outcome, answer.probe, truths[answer.probe])
        self.counts.append(answered)
        self.seconds.append(block.seconds)

    def measured(self, trial: Trial) -> Measurement:
        winners = self.sources.total()
        return Measurement(
            setting=self.setting,
            concurrency=self.concurrency,
            n=len(self.ms),
            failures=dict(sorted(self.failures.items())),
            latency=stats.ecdf(self.ms),
            p50=stats.percentile(self.ms, 0.50),
            p95=stats.percentile(self.ms, 0.95),
            p99=stats.percentile(self.ms, 0.99),
            throughput_per_s=stats.rate(self.counts, self.seconds),
            recall_at_1=share_of_probes(self.first),
            recall_at_5=share_of_probes(self.near),
            agreement=share_of_probes(self.agreed),
            wrong_cache_top1=share_of_probes(self.cache_wrong) if trial.templates else None,
            stages={name: sum(ms) / len(ms) for name, ms in self.stages.items()},
            sources={source: count / winners for source, count in sorted(self.sources.items())},
            hot_kind=trial.kind,
            hot_templates=trial.templates,
            memory_bytes=trial.memory_bytes,
        )

    def _judge(self, result: SearchResult, probe: int, truth: Truth) -> None:
        self.ms.append(result.timings.total)
        for name, ms in stages_of(result.timings):
            self.stages.setdefault(name, []).append(ms)
        self.agreed.setdefault(probe, []).append(agrees(result, truth))
        if truth.decision is not Decision.UNKNOWN:
            self.first.setdefault(probe, []).append(found_first(result, truth))
        near = recall(result, truth) if self.k >= PEOPLE else None
        if near is not None:
            self.near.setdefault(probe, []).append(near)
        if "faiss" in result.tiers:
            self.cache_wrong.setdefault(probe, []).append(result.cache_top1_wrong)
        if result.decision is Decision.MATCH and result.best:
            self.sources[result.best.source.value] += 1
        self.degraded.update(result.degraded)


def share_of_probes(verdicts: Mapping[int, Sequence[float]]) -> Estimate | None:
    """Over different probes: searching for one again says how fast it is, but nothing new of how well."""
    return stats.share(sum(sum(each) / len(each) for each in verdicts.values()), len(verdicts))


def front_of(rows: Sequence[Measurement]) -> tuple[int, ...]:
    """The rows that no other of the same concurrency beats, at p95 and `quality`."""
    chosen: list[int] = []
    for concurrency in {row.concurrency for row in rows}:
        alike = [i for i, row in enumerate(rows) if row.concurrency == concurrency and row.p95]
        points = [(rows[i].p95, quality(rows[i])) for i in alike]
        costs = [p95.value for p95, _ in points if p95]
        values = [found.value if found else 0.0 for _, found in points]
        chosen += [alike[i] for i in stats.front(costs, values)]
    return tuple(sorted(chosen))


def all_failed(tallies: Iterable[Tally]) -> Counter[str] | None:
    """The codes if nothing at all was answered; None if something was."""
    failures: Counter[str] = Counter()
    for tally in tallies:
        if tally.ms:
            return None
        failures += tally.failures
    return failures
