"""The three strategies: which tiers a search asks, and what happens when one of them is away.

Every search takes four steps, each a module of its own: ask the tiers, join their answers with the ledger,
rank the people, decide.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from core.domain.errors import Unavailable
from core.domain.faces import Embedding, Embeddings
from core.domain.search import Decision, SearchResult, SearchTimings, Strategy
from core.domain.templates import StoredTemplate
from core.store.contract import ChangeFeed
from core.store.search.batching import ProbeBatch
from core.store.search.decide import decide, enough
from core.store.search.join import nobody
from core.store.search.plan import COLD, HOT, JOIN, RANK, Plan, StageMark, milliseconds
from core.store.search.rank import Ranked, misled, rank_backed
from core.store.search.retrieval import Retrieved, retrieve
from core.store.search.shadow import ShadowSearch
from core.store.search.tier_runtime import TierRuntime
from core.store.tiers.faiss.tier import HotTier

logger = logging.getLogger("robi.store.search")

NOTHING = Retrieved({}, {})


class SearchOutcome(NamedTuple):
    """A result, who was accepted by it, and when each stage ran."""

    result: SearchResult
    winner: StoredTemplate | None
    marks: tuple[StageMark, ...]


class _Found(NamedTuple):
    """All that is known about one probe before it becomes a result."""

    hot: Collection[int]  # template ids that each tier proposed
    cold: Collection[int]
    ranked: list[Ranked]
    misled: bool
    tiers: tuple[str, ...]
    degraded: frozenset[str]
    marks: tuple[StageMark, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """Searches in a store's tiers. `hot` is the tier among `runtimes` that is the cache, if there is one.

    With a `shadow`, Qdrant's answers to what the cache can answer alone are compared later.
    """

    runtimes: Mapping[str, TierRuntime]
    hot: HotTier | None
    feed: ChangeFeed
    shadow: ShadowSearch | None = None

    def run(self, batch: ProbeBatch[Plan]) -> list[SearchOutcome]:
        """Search for probes with the same plan. Raises Busy, or Unavailable when no tier answers."""
        probes, plan = batch.probes, batch.plan
        if plan.strategy is Strategy.FAISS_FIRST:
            found = self._hot_first(probes, plan)
        elif plan.strategy is Strategy.QDRANT_ONLY:
            found = self._from((COLD,), probes, plan)
        else:
            found = self._hybrid(probes, plan)
        return [_outcome(one, plan, since) for one, since in zip(found, batch.since, strict=True)]

    def _from(
        self,
        tiers: Sequence[str],
        probes: Embeddings,
        plan: Plan,
        *,
        before: Retrieved = NOTHING,
        patient: bool = True,
    ) -> list[_Found]:
        """Ask these tiers at once; when none of them answers, whichever is left. `patient`: see `ask`."""
        retrieved = _after(before, self._retrieve(tiers, probes, plan, patient=patient))
        if not retrieved.hits:
            others = [name for name in self.runtimes if name not in tiers]
            retrieved = _after(retrieved, self._retrieve(others, probes, plan))
            if not retrieved.hits:
                raise Unavailable(
                    "search_unavailable", "No vector tier can answer.", "See Monitoring for their state."
                )
            logger.debug("%s fell back to %s", plan.strategy, ", ".join(retrieved.hits))
        return [self._found(probe, row, retrieved, plan) for row, probe in enumerate(probes)]

    def _hybrid(self, probes: Embeddings, plan: Plan) -> list[_Found]:
        """Both tiers at once; but whoever cannot change the answer is not waited for.

        A cache that holds everybody and skips nothing is right alone. It answers first, and Qdrant is asked
        right after it: to ask both at the same moment would make the one answer wait for the other's work.
        """
        seq = self.hot.seq if self.hot is not None else 0
        if not self._settled():
            return self._from((HOT, COLD), probes, plan, patient=False)
        found = self._from((HOT,), probes, plan)
        if any(HOT not in one.tiers for one in found):
            return found  # the cache failed, and Qdrant answered instead
        if not self._settled():
            return self._from((HOT, COLD), probes, plan, patient=False)
        if self.runtimes[COLD].projection.in_step:
            if self.shadow is not None and plan.counted:
                self.shadow.note(probes, [one.ranked for one in found], seq, plan)
            return found
        return [one._replace(degraded=one.degraded | {COLD}) for one in found]

    def _settled(self) -> bool:
        """Whether the cache's answer is the whole gallery's."""
        return self.hot is not None and self.hot.snapshot.settles and self.runtimes[HOT].projection.in_step

    def _hot_first(self, probes: Embeddings, plan: Plan) -> list[_Found]:
        """The hot tier alone where that is enough, the cold one too for the other probes."""
        first = self._retrieve((HOT,), probes, plan)
        if HOT not in first.hits:
            return self._from((COLD,), probes, plan, before=first)
        found = [self._found(probe, row, first, plan) for row, probe in enumerate(probes)]
        settled = self._settled()
        doubtful = [
            row for row, one in enumerate(found) if not enough(one.ranked, plan.rule, settled=settled)
        ]
        logger.debug("faiss_first: %d of %d probes go on to the cold tier", len(doubtful), len(probes))
        if not doubtful:
            return found
        proposed = {template_id for row in doubtful for template_id in found[row].hot}
        second = self._retrieve((COLD,), probes[doubtful], plan, also=proposed)
        for position, row in enumerate(doubtful):
            found[row] = self._both(probes[row], found[row], (first, row), (second, position), plan)
        return found

    def _both(
        self,
        probe: Embedding,
        before: _Found,
        hot: tuple[Retrieved, int],
        cold: tuple[Retrieved, int],
        plan: Plan,
    ) -> _Found:
        """What the hot tier found, and then the cold one, each in a row of its own."""
        (first, row), (second, position) = hot, cold
        marks = (*before.marks, *second.marks)
        if COLD not in second.hits:
            return before._replace(degraded=before.degraded | second.degraded, marks=marks)
        both = Retrieved(
            hits={HOT: [first.of(HOT, row)], COLD: [second.of(COLD, position)]},
            templates=second.templates,
            degraded=before.degraded | second.degraded,
            marks=marks,
        )
        return self._found(probe, 0, both, plan)

    def _retrieve(
        self,
        tiers: Sequence[str],
        probes: Embeddings,
        plan: Plan,
        *,
        also: Collection[int] = (),
        patient: bool = True,
    ) -> Retrieved:
        wanted = [self.runtimes[name] for name in tiers if name in self.runtimes]
        retrieved = retrieve(
            [runtime for runtime in wanted if runtime.askable],
            probes,
            plan.people,
            self.feed,
            persons_of=self.hot.snapshot.rows.persons_of if self.hot is not None else nobody,
            also=also,
            ef=plan.search_ef,
            patient=patient,
        )
        behind = [runtime.name for runtime in wanted if not runtime.projection.in_step]
        return retrieved._replace(degraded=retrieved.degraded.union(behind)) if behind else retrieved

    def _found(self, probe: Embedding, row: int, retrieved: Retrieved, plan: Plan) -> _Found:
        hot, cold, templates = retrieved.of(HOT, row), retrieved.of(COLD, row), retrieved.templates
        started = time.perf_counter()
        floor = plan.rule.threshold - plan.rule.review_band
        ranked = rank_backed(
            probe,
            [*hot, *cold],
            templates,
            first=plan.people,
            floor=floor,
            templates_of=self.feed.templates_of,
        )
        wrong = misled(probe, hot, ranked, templates) if cold else False
        return _Found(
            {hit.template_id for hit in hot},
            {hit.template_id for hit in cold},
            ranked,
            wrong,
            tuple(retrieved.hits),
            retrieved.degraded,
            (*retrieved.marks, StageMark(RANK, started, time.perf_counter())),
        )


def _after(before: Retrieved, retrieved: Retrieved) -> Retrieved:
    """What was retrieved at last, with what was lost and waited for before."""
    if before is NOTHING:
        return retrieved
    degraded, marks = before.degraded | retrieved.degraded, (*before.marks, *retrieved.marks)
    return retrieved._replace(degraded=degraded, marks=marks)


def _outcome(found: _Found, plan: Plan, since: float) -> SearchOutcome:
    decision = decide(found.ranked, plan.rule)
    winner = found.ranked[0].template if decision is Decision.MATCH else None
    degraded = tuple(sorted(found.degraded))
    taken = milliseconds(found.marks)
    logger.debug("%s: %s from %s, degraded %s", plan.strategy, decision, found.tiers, degraded)
    result = SearchResult(
        candidates=tuple(person.candidate(found.hot, found.cold) for person in found.ranked[: plan.k]),
        decision=decision,
        strategy=plan.strategy,
        threshold=plan.rule.threshold,
        tiers=found.tiers,
        degraded=degraded,
        cache_top1_wrong=found.misled,
        timings=SearchTimings(
            total=1e3 * (time.perf_counter() - since),
            hot=taken.get(HOT),
            cold=taken.get(COLD),
            merge=taken.get(RANK),
            join=taken.get(JOIN),
        ),
        review_floor=plan.rule.review_floor,
    )
    return SearchOutcome(result, winner, found.marks)
