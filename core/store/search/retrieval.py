"""Asking and joining, deeper each time, until the people are certain."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from core.domain.faces import Embeddings
from core.domain.search import Hit
from core.store.contract import ChangeFeed
from core.store.search.ask import ask
from core.store.search.join import PersonsOf, Templates, join, nobody
from core.store.search.plan import JOIN, StageMark
from core.store.search.tier_runtime import TierRuntime

NONE: frozenset[str] = frozenset()


class Retrieved(NamedTuple):  # a tuple for speed: each search makes one
    """What the tiers proposed for each probe, and which of it the ledger still has."""

    hits: Mapping[str, Sequence[Sequence[Hit]]]  # by tier that answered, per probe
    templates: Templates
    degraded: frozenset[str] = NONE  # tiers that should have answered and did not, or lag behind
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
    patient: bool = True,
) -> Retrieved:
    """Ask every tier about every probe until each has named `people` living people or everything it holds.

    That makes the best `people` exact however many templates one person has, and however many erased
    templates a lagging tier still proposes. `persons_of` and `also`: see `join`; `ef`: see `Tier.search`;
    `patient`: see `ask`.

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
        for name, answer in ask(asked, rows, (depth, ef), patient=patient).items():
            marks.append(answer.mark)
            if answer.hits is None:
                del hits[name]
                continue
            for row, found in zip(pending, answer.hits, strict=True):
                hits[name][row] = found
        started = time.perf_counter()
        places = [(tier, row) for tier in hits for row in pending]
        proposed = [hits[tier][row] for tier, row in places]
        templates, short = join(proposed, people, feed, known=templates, persons_of=persons_of, also=also)
        marks.append(StageMark(JOIN, started, time.perf_counter()))
        pending = sorted({places[n][1] for n in short if len(proposed[n]) >= depth}) if short else []
        depth *= 2
    lost = frozenset(tier.name for tier in tiers if tier.name not in hits) if len(hits) < len(tiers) else NONE
    return Retrieved(hits, templates, lost, tuple(marks))
