"""How fast Robi must be: the targets, and what each request that missed one lost its time with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.domain.search import SearchTimings, Strategy


@dataclass(frozen=True, slots=True)
class Objective:
    """Requests of a kind should take less than `limit_ms`, from their arrival to their answer."""

    name: str
    limit_ms: float
    requests: str  # which ones, in words


ENROLL = Objective("enroll", 1000.0, "Enrollments")
HOT = Objective("hot", 30.0, "Searches that the cache answered alone")
COLD = Objective("cold", 50.0, "Searches that asked Qdrant")
OBJECTIVES = (ENROLL, HOT, COLD)

REST = "rest"
WAITING = "waiting"
COMPARE = "compare"  # 1:1, with one person's own templates


def of_search(timings: SearchTimings) -> Objective:
    return HOT if timings.cold is None else COLD


def stages_of_search(strategy: Strategy | None, timings: SearchTimings) -> dict[str, float]:
    """Milliseconds of each stage that ran, and of the time before them in the queue.

    Stages do not always add up to the total: `hybrid` asks both tiers at once.
    """
    given = {
        "hot": timings.hot,
        "cold": timings.cold,
        "merge": timings.merge,
        "join": timings.join,
    }
    ran = {name: ms for name, ms in given.items() if ms is not None}
    if not ran:
        return {COMPARE: timings.total}
    hot, cold = ran.get("hot", 0.0), ran.get("cold", 0.0)
    tiers = max(hot, cold) if strategy is Strategy.HYBRID else hot + cold
    waited = timings.total - tiers - ran.get("merge", 0.0) - ran.get("join", 0.0)
    return {**ran, WAITING: max(0.0, waited)}


def with_rest(stages: Mapping[str, float], total_ms: float) -> dict[str, float]:
    """The stages one after the other, and what is left of the total."""
    return {**stages, REST: max(0.0, total_ms - sum(stages.values()))}


def dominant(stages: Mapping[str, float]) -> str:
    """The stage that took longest."""
    return max(stages, key=lambda name: stages[name], default=REST)
