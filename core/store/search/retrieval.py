"""Asking tiers for a few probes, joining the answers with the ledger, deeper until the people are certain."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from core.domain.errors import Unavailable
from core.domain.faces import Embeddings
from core.domain.search import Hit
from core.domain.templates import StoredTemplate
from core.store.contract import ChangeFeed
from core.store.search.merge import people_among
from core.store.search.tier_runtime import Depth, Hits, TierRuntime

logger = logging.getLogger("robi.store.search")

ANSWER_SECONDS = 5.0  # covers a killed and replaced Edge child, once

PersonsOf = Callable[[Collection[int]], Mapping[int, int]]
"""The persons whom templates belong to, as far as is known; never a wrong one."""


def nobody(_template_ids: Collection[int]) -> Mapping[int, int]:
    return {}


class StageMark(NamedTuple):
    """When a stage began and ended, by `time.perf_counter`."""

    stage: str  # a tier's name, "join" or "merge"
    began: float
    ended: float


@dataclass(slots=True, eq=False)
class Gathered:
    """What the tiers proposed for each probe, and which of it the ledger still has."""

    hits: dict[str, list[list[Hit]]] = field(default_factory=dict)  # by tier that answered, per probe
    templates: dict[int, StoredTemplate] = field(default_factory=dict)
    milliseconds: dict[str, float] = field(default_factory=dict)
    join_ms: float = 0.0
    merge_ms: float = 0.0  # that was spent on these probes before
    failed: set[str] = field(default_factory=set)
    marks: list[StageMark] | None = None  # where somebody wants to know

    def of(self, tier: str, row: int) -> list[Hit]:
        return self.hits[tier][row] if tier in self.hits else []


def gather(
    tiers: Sequence[TierRuntime],
    probes: Embeddings,
    people: int,
    feed: ChangeFeed,
    *,
    persons_of: PersonsOf = nobody,
    also: Collection[int] = (),
    ef: int | None = None,
    marks: list[StageMark] | None = None,
) -> Gathered:
    """Ask every tier about every probe until each has named `people` living people or everything it holds.

    That makes the best `people` exact however many templates one person has, and however many erased
    templates a lagging tier still proposes. `persons_of` is what is known without asking the ledger: of a
    person's templates only the most similar one is joined then. `also` are further template ids to join.
    `ef`: see `Tier.search`. `marks` is told when each stage ran.

    Raises:
        Busy: a tier's queue is full.
    """
    result = Gathered(marks=marks)
    for tier in tiers:
        result.hits[tier.name] = [[] for _ in probes]
    pending = list(range(len(probes)))
    depth = 2 * people + 8
    while pending and result.hits:
        asked = [tier for tier in tiers if tier.name in result.hits]
        _ask(asked, probes[pending] if len(pending) < len(probes) else probes, pending, (depth, ef), result)
        short = _join(result, pending, people, persons_of, also, feed)
        pending = sorted(
            {
                row
                for row, hits in short
                if len(hits) >= depth and people_among(hits, result.templates) < people
            }
        )
        depth *= 2
    return result


def _ask(
    tiers: Sequence[TierRuntime], probes: Embeddings, rows: Sequence[int], depth: Depth, result: Gathered
) -> None:
    """Ask all tiers at once: one of them in this thread, which spares two thread switches."""
    started = time.perf_counter()
    here = next((tier for tier in tiers if tier.anywhere), None)
    elsewhere = [(tier, *_queued(tier, probes, depth)) for tier in tiers if tier is not here]
    if here is not None:
        _take(here, partial(here.search, probes, *depth), rows, started, result)
    for tier, future, there in elsewhere:
        _take(tier, partial(future.result, _left(started)), rows, started, result, there)


def _queued(tier: TierRuntime, probes: Embeddings, depth: Depth) -> tuple[Future[Hits], list[float]]:
    """The answer to come, and when it was there: whoever waits for it may still be busy with another tier."""
    there: list[float] = []
    future = tier.ask(probes, *depth)
    future.add_done_callback(lambda _: there.append(time.perf_counter()))
    return future, there


def _take(
    tier: TierRuntime,
    answer: Callable[[], Hits],
    rows: Sequence[int],
    started: float,
    result: Gathered,
    there: Sequence[float] = (),
) -> None:
    """Put a tier's answer into the result, or note that it failed. It was there now, or at `there`.

    A failure has taken its time, too: the search waited for it.
    """
    try:
        for row, hits in zip(rows, answer(), strict=True):
            result.hits[tier.name][row] = hits
    except (Unavailable, TimeoutError) as problem:
        logger.warning("%s did not answer a search: %s", tier.name, str(problem) or "too slow")
        result.failed.add(tier.name)
        del result.hits[tier.name]
    ended = there[0] if there else time.perf_counter()
    if result.marks is not None:
        result.marks.append(StageMark(tier.name, started, ended))
    result.milliseconds[tier.name] = result.milliseconds.get(tier.name, 0.0) + 1e3 * (ended - started)


def _left(started: float) -> float:
    return max(0.0, started + ANSWER_SECONDS - time.perf_counter())


def _join(
    result: Gathered,
    rows: Sequence[int],
    people: int,
    persons_of: PersonsOf,
    also: Collection[int],
    feed: ChangeFeed,
) -> list[tuple[int, list[Hit]]]:
    """Returns the rows and hits of which all had to be joined, because their best named too few people."""
    started = time.perf_counter()
    proposed = [(row, lists[row]) for lists in result.hits.values() for row in rows]
    persons = persons_of({hit.template_id for _, hits in proposed for hit in hits})
    _resolve(result, {*also, *(i for _, hits in proposed for i in _best(hits, people, persons))}, feed)
    short = [pair for pair in proposed if people_among(pair[1], result.templates) < people]
    _resolve(result, {hit.template_id for _, hits in short for hit in hits}, feed)
    ended = time.perf_counter()
    if result.marks is not None:
        result.marks.append(StageMark("join", started, ended))
    result.join_ms += 1e3 * (ended - started)
    return short


def _best(hits: Sequence[Hit], people: int, persons: Mapping[int, int]) -> Iterator[int]:
    """The most similar template of each of the first people, and all whose person is not known."""
    seen: set[int] = set()
    for template_id, _ in hits:
        person = persons.get(template_id)
        if person is None:
            yield template_id
        elif person not in seen and len(seen) < people:
            seen.add(person)
            yield template_id


def _resolve(result: Gathered, template_ids: set[int], feed: ChangeFeed) -> None:
    missing = template_ids - result.templates.keys()
    if missing:
        result.templates.update(feed.resolve(missing))
