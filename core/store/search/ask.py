"""The first step of a search: what the tiers propose, all asked at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple

from core.domain.errors import Busy, Unavailable
from core.domain.faces import Embeddings
from core.store.search.plan import StageMark
from core.store.search.tier_runtime import MOST_PATIENT, Depth, Hits, TierRuntime

logger = logging.getLogger("robi.store.search")


class TierAnswer(NamedTuple):
    """What one tier proposed, for each probe; None where it did not answer, which has taken its time, too."""

    hits: Hits | None
    mark: StageMark


def ask(
    tiers: Sequence[TierRuntime], probes: Embeddings, depth: Depth, *, patient: bool = True
) -> dict[str, TierAnswer]:
    """The answers, by tier. One tier is searched in this thread, which spares two thread switches.

    A caller who is not `patient` can do with that one's answer: it waits for the others only as long as they
    usually take.

    Raises:
        Busy: a tier's queue is full.
    """
    started = time.perf_counter()
    here = next((tier for tier in tiers if tier.anywhere), None)
    hurried = here is not None and not patient
    elsewhere = [(tier, *_queued(tier, probes, depth, hurried)) for tier in tiers if tier is not here]
    answers: dict[str, TierAnswer] = {}
    if here is not None:
        answers[here.name] = _answer(here, partial(here.search, probes, *depth), started)
    for tier, future, there in elsewhere:
        until = started + (tier.patience.seconds if hurried else MOST_PATIENT)
        answer = _answer(tier, partial(_wait, future, until), started, there)
        if answer.hits is not None:
            tier.patience.learn(answer.mark.ended - started)
        answers[tier.name] = answer
    return answers


def _queued(
    tier: TierRuntime, probes: Embeddings, depth: Depth, hurried: bool
) -> tuple[Future[Hits], list[float]]:
    """The answer to come, and when it was there: whoever waits for it may still be busy with another tier."""
    there: list[float] = []
    try:
        future = tier.ask(probes, *depth)
    except Busy as problem:
        if not hurried:
            raise
        future = Future()
        future.set_exception(problem)
    future.add_done_callback(lambda _: there.append(time.perf_counter()))
    return future, there


def _answer(
    tier: TierRuntime, hits: Callable[[], Hits], started: float, there: Sequence[float] = ()
) -> TierAnswer:
    """The answer that `hits` waits for. It was there now, or at `there`."""
    found = None
    try:
        found = hits()
    except (Unavailable, Busy, TimeoutError) as problem:
        logger.warning("%s did not answer a search: %s", tier.name, str(problem) or "too slow")
    return TierAnswer(found, StageMark(tier.name, started, there[0] if there else time.perf_counter()))


def _wait(future: Future[Hits], until: float) -> Hits:
    """Raises TimeoutError; what nobody waits for any more is not begun."""
    try:
        return future.result(max(0.0, until - time.perf_counter()))
    except TimeoutError:
        future.cancel()
        raise
