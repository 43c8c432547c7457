"""A lane's state in the words of `TierState`."""

from __future__ import annotations

from datetime import UTC, datetime

from core.domain.system import TierState
from core.store.contract import TierDown
from core.store.search.lane import Lane
from core.store.tiers.faiss.tier import HotTier

STARTED = datetime.now(UTC)


def state_of(lane: Lane, head: int, gallery: int) -> TierState:
    tier, projection = lane.tier, lane.projection
    progress = tier.progress if isinstance(tier, HotTier) else None
    error = tier.note if progress is not None else projection.error or tier.note
    ok = projection.in_step and not (isinstance(tier, HotTier) and tier.degraded)
    answers = not projection.down
    templates = 0
    if answers:
        try:
            templates = tier.count()
        except TierDown as problem:
            ok, answers, error = False, False, problem.message
    return TierState(
        name=tier.name,
        kind=tier.kind,
        ok=ok,
        templates=templates,
        seq=tier.seq,
        lag=max(0, head - tier.seq),
        coverage=min(1.0, templates / gallery) if gallery else 1.0,
        since=projection.since,
        answers=answers,
        progress=progress,
        error=error,
    )


def off_state(name: str) -> TierState:
    """Of a tier that is switched off: nothing is wrong with it, and nothing is in it."""
    return TierState(
        name, "off", ok=True, templates=0, seq=0, lag=0, coverage=0.0, since=STARTED, answers=False
    )
