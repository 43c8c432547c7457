"""Asking and joining, deeper each time, until the people are certain."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from core.domain.faces import Embeddings
from core.domain.search import Hit
from core.store.contract import ChangeFeed
from core.store.search.ask import ask
from core.store.search.join import PersonsOf, Templates, join, nobody, people_among
from core.store.search.plan import JOIN, StageMark
from core.store.search.tier_runtime import TierRuntime


@dataclass(frozen=True, slots=True, eq=False)
class Retrieved:
    """What the tiers proposed for each probe, and which of it the ledger still has."""

    hits: Mapping[str, Sequence[Sequence[Hit]]]  # by tier that answered, per probe
    templates: Templates
    degraded: frozenset[str] = frozenset()  # tiers that should have answered and did not, or lag behind
    marks: tuple[StageMark, ...] = ()

    def of(self, tier: str, row: int) -> Sequence[Hit]:
        return self.hits[tier][row] if tier in self.hits else ()


def retrieve(
    tiers: Sequence[TierRuntime],
    probes: Embeddings,
    people: int,
    feed: ChangeFeed,
    *,
    persons_of: PersonsOf = nobody,
    also: Collection[int] = (),
    ef: int | None = None,
) -> Retrieved:
    """Ask every tier about every probe until each has named `people` living people or everything it holds.

    That makes the best `people` exact however many templates one person has, and however many erased
    templates a lagging tier still proposes. `persons_of` and `also`: see `join`; `ef`: see `Tier.search`.

    Raises:
        Busy: a tier's queue is full.
    """
    hits: dict[str, list[list[Hit]]] = {tier.name: [[] for _ in probes] for tier in tiers}
    templates: Templates = {}
    marks: list[StageMark] = []
    pending = list(range(len(probes)))
    depth = 2 * people + 8
    while pending and hits:
        asked = [tier for tier in tiers if tier.name in hits]
        rows = probes[pending] if len(pending) < len(probes) else probes
        for tier, answer in zip(asked, ask(asked, rows, (depth, ef)), strict=True):
            marks.append(answer.mark)
            if answer.hits is None:
                del hits[tier.name]
                continue
            for row, found in zip(pending, answer.hits, strict=True):
                hits[tier.name][row] = found
        started = time.perf_counter()
        proposed = [(row, lists[row]) for lists in hits.values() for row in pending]
        lists = [found for _, found in proposed]
        templates = join(lists, people, feed, known=templates, persons_of=persons_of, also=also)
        marks.append(StageMark(JOIN, started, time.perf_counter()))
        pending = sorted(
            {
                row
                for row, found in proposed
                if len(found) >= depth and people_among(found, templates) < people
            }
        )
        depth *= 2
    lost = frozenset(tier.name for tier in tiers if tier.name not in hits)
    return Retrieved(hits, templates, lost, tuple(marks))
