"""The exact answer, by numpy alone: every template of the ledger is compared with every probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.domain.decisions import Rule
from core.domain.faces import Embeddings
from core.domain.search import Decision, SearchResult
from core.domain.templates import TemplateBlock
from core.ledger.ledger import Ledger

NUMBERS_AT_ONCE = 1 << 18  # similarities computed together: a few milliseconds
FEWEST_ROWS, MOST_ROWS = 256, 8192  # templates read together
PEOPLE = 5  # nearest people that recall is measured on
TIE = 1e-5  # similarities closer than this are a tie: either person is right


@dataclass(frozen=True, slots=True)
class Truth:
    """The people nearest to a probe, best first, and what that amounts to."""

    user_ids: tuple[str, ...]
    similarities: tuple[float, ...]
    decision: Decision


@dataclass(frozen=True, slots=True, eq=False)
class _Best:
    """The nearest people of each probe so far, best first: arrays of shape (probes, people)."""

    similarities: NDArray[np.float32]
    persons: NDArray[np.int64]  # -1 where there are no more
    ids: NDArray[np.int64]  # of a template of theirs


def exact(
    ledger: Ledger, probes: Embeddings, rule: Rule, each: Callable[[int], None] = lambda _templates: None
) -> tuple[Truth, ...]:
    """The truth about each probe. The gallery is read block by block, so any size fits into memory.

    `each` is told how many templates were compared, after each block; it may raise to end this.
    """
    rows = int(np.clip(NUMBERS_AT_ONCE // max(1, len(probes)), FEWEST_ROWS, MOST_ROWS))
    best = _nobody(len(probes))
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):  # more threads take every core from the searches beside this
        for block in ledger.feed.blocks(rows):
            best = _nearest(best, _within(block, probes))
            each(len(block.ids))
    found = ledger.feed.resolve(set(best.ids[best.persons >= 0].tolist()))
    truths = []
    for similarities, persons, ids in zip(best.similarities, best.persons, best.ids, strict=True):
        there = [
            (-float(s), found[i].user_id, int(p))
            for s, p, i in zip(similarities, persons, ids.tolist(), strict=True)
            if p >= 0 and i in found
        ]
        truths.append(_truth(sorted(there), rule))
    return tuple(truths)


def agrees(result: SearchResult, truth: Truth) -> bool:
    """Same decision, and same person if there is one."""
    if result.decision is not truth.decision:
        return False
    return truth.decision is Decision.UNKNOWN or found_first(result, truth)


def found_first(result: SearchResult, truth: Truth) -> bool:
    """Whether the first candidate is the nearest person, or as near."""
    best = result.best
    if best is None or not truth.user_ids:
        return best is None and not truth.user_ids
    return best.user_id == truth.user_ids[0] or best.similarity >= truth.similarities[0] - TIE


def recall(result: SearchResult, truth: Truth) -> float | None:
    """Of the nearest PEOPLE, the share among the first PEOPLE candidates; None without anybody enrolled."""
    wanted = truth.similarities[:PEOPLE]
    if not wanted:
        return None
    near = sum(one.similarity >= wanted[-1] - TIE for one in result.candidates[:PEOPLE])
    return min(near, len(wanted)) / len(wanted)


def _truth(there: Sequence[tuple[float, str, int]], rule: Rule) -> Truth:
    similarities = tuple(-negative for negative, _, _ in there)
    decision = rule.decide(similarities[:2], [person for _, _, person in there[:2]])
    return Truth(tuple(user_id for _, user_id, _ in there), similarities, decision)


def _nobody(probes: int) -> _Best:
    shape = (probes, 0)
    return _Best(np.empty(shape, np.float32), np.empty(shape, np.int64), np.empty(shape, np.int64))


def _within(block: TemplateBlock, probes: Embeddings) -> _Best:
    """The nearest people of one block, in any order."""
    order = np.argsort(block.persons, kind="stable")
    persons = block.persons[order]
    first = np.flatnonzero(np.diff(persons, prepend=-1))
    best = np.maximum.reduceat(probes @ block.vectors[order].T, first, axis=1)
    whole = _Best(
        best,
        np.broadcast_to(persons[first], best.shape),
        np.broadcast_to(block.ids[order][first], best.shape),
    )
    if len(first) <= PEOPLE:
        return whole
    return _chosen(whole, np.argpartition(-best, PEOPLE - 1, axis=1)[:, :PEOPLE])


def _nearest(one: _Best, other: _Best) -> _Best:
    """The nearest people of both; whoever is in both counts once, with the better similarity."""
    both = _Best(
        np.hstack([one.similarities, other.similarities]),
        np.hstack([one.persons, other.persons]),
        np.hstack([one.ids, other.ids]),
    )
    both = _chosen(both, np.argsort(-both.similarities, axis=1, kind="stable"))
    same = both.persons[:, :, None] == both.persons[:, None, :]
    again = np.tril(same, -1).any(axis=2)  # an earlier place, so a better one, is the same person's
    similarities = np.where(again, np.float32(-np.inf), both.similarities)
    alone = _Best(similarities, np.where(again, -1, both.persons), both.ids)
    return _chosen(alone, np.argsort(-similarities, axis=1, kind="stable")[:, :PEOPLE])


def _chosen(best: _Best, places: NDArray[np.int64]) -> _Best:
    return _Best(
        np.take_along_axis(best.similarities, places, axis=1),
        np.take_along_axis(best.persons, places, axis=1),
        np.take_along_axis(best.ids, places, axis=1),
    )
