"""The first step of a search: what the tiers propose, all asked at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple

from core.domain.errors import Unavailable
from core.domain.faces import Embeddings
from core.store.search.plan import StageMark
from core.store.search.tier_runtime import Depth, Hits, TierRuntime

logger = logging.getLogger("robi.store.search")

ANSWER_SECONDS = 5.0  # covers a killed and replaced Edge child, once


class TierAnswer(NamedTuple):
    """What one tier proposed, for each probe; None where it did not answer, which has taken its time, too."""

    hits: Hits | None
    mark: StageMark


def ask(tiers: Sequence[TierRuntime], probes: Embeddings, depth: Depth) -> dict[str, TierAnswer]:
    """The answers, by tier. One tier is searched in this thread, which spares two thread switches.

    Raises:
        Busy: a tier's queue is full.
    """
    started = time.perf_counter()
    here = next((tier for tier in tiers if tier.anywhere), None)
    elsewhere = [(tier, *_queued(tier, probes, depth)) for tier in tiers if tier is not here]
    answers: dict[str, TierAnswer] = {}
    if here is not None:
        answers[here.name] = _answer(here, partial(here.search, probes, *depth), started)
    for tier, future, there in elsewhere:
        answers[tier.name] = _answer(tier, partial(future.result, _left(started)), started, there)
    return answers


def _queued(tier: TierRuntime, probes: Embeddings, depth: Depth) -> tuple[Future[Hits], list[float]]:
    """The answer to come, and when it was there: whoever waits for it may still be busy with another tier."""
    there: list[float] = []
    future = tier.ask(probes, *depth)
    future.add_done_callback(lambda _: there.append(time.perf_counter()))
    return future, there


def _answer(
    tier: TierRuntime, hits: Callable[[], Hits], started: float, there: Sequence[float] = ()
) -> TierAnswer:
    """The answer that `hits` waits for. It was there now, or at `there`."""
    found = None
    try:
        found = hits()
    except (Unavailable, TimeoutError) as problem:
        logger.warning("%s did not answer a search: %s", tier.name, str(problem) or "too slow")
    return TierAnswer(found, StageMark(tier.name, started, there[0] if there else time.perf_counter()))


def _left(started: float) -> float:
    return max(0.0, started + ANSWER_SECONDS - time.perf_counter())
