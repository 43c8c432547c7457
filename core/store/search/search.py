"""One search by one of the three strategies, with what happens when a tier is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from core.domain.decisions import Rule, reaches
from core.domain.errors import Unavailable
from core.domain.faces import Embedding, Embeddings
from core.domain.search import Decision, Hit, SearchResult, SearchTimings, Strategy
from core.domain.templates import StoredTemplate
from core.store.contract import ChangeFeed
from core.store.search.batching import ProbeBatch
from core.store.search.merge import COLD, HOT, Ranked, enough, judge, misled, rank, unbacked
from core.store.search.retrieval import Gathered, StageMark, gather, nobody
from core.store.search.tier_runtime import TierRuntime
from core.store.tiers.faiss.tier import HotTier

logger = logging.getLogger("robi.store.search")


class _Found(NamedTuple):
    """All that is known about one probe before it becomes a result."""

    hot: Sequence[Hit]
    cold: Sequence[Hit]
    ranked: list[Ranked]
    misled: bool
    tiers: tuple[str, ...]
    hot_ms: float | None
    cold_ms: float | None
    merge_ms: float
    join_ms: float


@dataclass(frozen=True, slots=True)
class Plan:
    """How probes are searched for. Those with equal plans are searched for together."""

    strategy: Strategy
    rule: Rule
    k: int
    search_ef: int
    counted: bool = True  # among the live searches, in the metrics


class Search:
    """One batch of probes with the same plan."""

    def __init__(
        self,
        runtimes: Mapping[str, TierRuntime],
        hot: HotTier | None,
        feed: ChangeFeed,
        batch: ProbeBatch[Plan],
        marks: list[StageMark] | None = None,
    ) -> None:
        """`marks` is told when each stage ran."""
        self._runtimes = runtimes
        self._hot = hot
        self._feed = feed
        self._probes = batch.probes
        self._since = batch.since
        self._strategy = batch.plan.strategy
        self._rule = batch.plan.rule
        self._k = batch.plan.k
        self._ef = batch.plan.search_ef
        self._people = max(self._k, 2)  # the decision needs the second person
        self._degraded: set[str] = set()
        self.matched: list[StoredTemplate] = []  # the winners that were accepted
        self._marks = marks

    def run(self) -> list[SearchResult]:
        """Raises Busy, or Unavailable when no tier answers."""
        if self._strategy is Strategy.FAISS_FIRST:
            found = self._hot_first(self._probes)
        elif self._strategy is Strategy.QDRANT_ONLY:
            found = self._from(self._probes, (COLD,))
        else:
            found = self._from(self._probes, (HOT, COLD))
        degraded = tuple(sorted(self._degraded))
        return [self._result(one, since, degraded) for one, since in zip(found, self._since, strict=True)]

    def _from(self, probes: Embeddings, tiers: Sequence[str]) -> list[_Found]:
        """Ask these tiers at once; when none of them answers, whichever is left."""
        gathered = self._gather(probes, tiers)
        if not gathered.hits:
            others = [name for name in self._runtimes if name not in tiers]
            waited = gathered.milliseconds
            gathered = self._gather(probes, others)
            gathered.milliseconds = waited | gathered.milliseconds
            if not gathered.hits:
                raise Unavailable(
                    "search_unavailable", "No vector tier can answer.", "See Monitoring for their state."
                )
            logger.debug("%s fell back to %s", self._strategy, ", ".join(gathered.hits))
        return [self._found(probe, row, gathered) for row, probe in enumerate(probes)]

    def _hot_first(self, probes: Embeddings) -> list[_Found]:
        """The hot tier alone where that is enough, the cold one too for the other probes."""
        first = self._gather(probes, (HOT,))
        if HOT not in first.hits:
            return self._from(probes, (COLD,))
        found = [self._found(probe, row, first) for row, probe in enumerate(probes)]
        settles = self._hot is not None and self._hot.snapshot.settles
        settled = settles and self._runtimes[HOT].projection.in_step
        doubtful = [
            row for row, one in enumerate(found) if not enough(one.ranked, self._rule, settled=settled)
        ]
        logger.debug("faiss_first: %d of %d probes go on to the cold tier", len(doubtful), len(probes))
        if not doubtful:
            return found
        proposed = {hit.template_id for row in doubtful for hit in first.of(HOT, row)}
        second = self._gather(probes[doubtful], (COLD,), also=proposed)
        if COLD not in second.hits:
            asked = second.milliseconds.get(COLD)
            for row in doubtful:
                found[row] = found[row]._replace(cold_ms=asked)
            return found
        for position, row in enumerate(doubtful):
            both = Gathered(
                hits={HOT: [first.of(HOT, row)], COLD: [second.of(COLD, position)]},
                templates=second.templates,
                milliseconds=first.milliseconds | second.milliseconds,
                join_ms=first.join_ms + second.join_ms,
                merge_ms=found[row].merge_ms,  # of the hot tier's people, before these
            )
            found[row] = self._found(probes[row], 0, both)
        return found

    def _gather(
        self, probes: Embeddings, tiers: Sequence[str], *, also: Sequence[int] | set[int] = ()
    ) -> Gathered:
        wanted = [self._runtimes[name] for name in tiers if name in self._runtimes]
        asked = [runtime for runtime in wanted if runtime.askable]
        persons_of = self._hot.snapshot.rows.persons_of if self._hot is not None else nobody
        gathered = gather(
            asked,
            probes,
            self._people,
            self._feed,
            persons_of=persons_of,
            also=also,
            ef=self._ef,
            marks=self._marks,
        )
        self._degraded |= gathered.failed
        self._degraded |= {runtime.name for runtime in wanted if not runtime.projection.in_step}
        return gathered

    def _found(self, probe: Embedding, row: int, gathered: Gathered) -> _Found:
        hot, cold = gathered.of(HOT, row), gathered.of(COLD, row)
        started = time.perf_counter()
        ranked = self._backed(probe, [*hot, *cold], gathered.templates)
        wrong = misled(probe, hot, ranked, gathered.templates) if cold else False
        ended = time.perf_counter()
        if self._marks is not None:
            self._marks.append(StageMark("merge", started, ended))
        return _Found(
            hot,
            cold,
            ranked,
            wrong,
            tuple(gathered.hits),
            gathered.milliseconds.get(HOT),
            gathered.milliseconds.get(COLD),
            gathered.merge_ms + 1e3 * (ended - started),
            gathered.join_ms,
        )

    def _backed(
        self, probe: Embedding, hits: Sequence[Hit], templates: Mapping[int, StoredTemplate]
    ) -> list[Ranked]:
        """The people behind the hits, without what only later photos say of them; see `unbacked`."""
        floor = self._rule.threshold - self._rule.review_band
        ranked = rank(probe, hits, templates)
        checked: set[int] = set()
        while True:
            first = [one for one in ranked[: self._people] if reaches(one.similarity, floor)]
            doubtful = {one.template.person for one in first if not one.template.vouched} - checked
            if not doubtful:
                return ranked
            checked |= doubtful
            out = unbacked(probe, self._templates_of(doubtful), floor)
            templates = {i: t for i, t in templates.items() if t.vouched or t.person not in out}
            ranked = rank(probe, hits, templates)

    def _templates_of(self, persons: set[int]) -> dict[int, list[StoredTemplate]]:
        found: dict[int, list[StoredTemplate]] = {person: [] for person in persons}
        for template in self._feed.templates_of(persons):
            found[template.person].append(template)
        return found

    def _result(self, found: _Found, since: float, degraded: tuple[str, ...]) -> SearchResult:
        decision = judge(found.ranked, self._rule)
        if decision is Decision.MATCH:
            self.matched.append(found.ranked[0].template)
        hot, cold = {hit.template_id for hit in found.hot}, {hit.template_id for hit in found.cold}
        logger.debug("%s: %s from %s, degraded %s", self._strategy, decision, found.tiers, degraded)
        return SearchResult(
            candidates=tuple(person.candidate(hot, cold) for person in found.ranked[: self._k]),
            decision=decision,
            strategy=self._strategy,
            threshold=self._rule.threshold,
            tiers=found.tiers,
            degraded=degraded,
            cache_top1_wrong=found.misled,
            timings=SearchTimings(
                total=1e3 * (time.perf_counter() - since),
                hot=found.hot_ms,
                cold=found.cold_ms,
                merge=found.merge_ms,
                join=found.join_ms,
            ),
            review_floor=self._rule.review_floor,
        )
