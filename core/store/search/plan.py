"""How probes are to be searched for, and when each stage of a search ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from core.domain.decisions import Rule
from core.domain.search import Strategy

HOT = "faiss"
COLD = "qdrant"
JOIN = "join"
RANK = "merge"  # as metrics, pages and the REST contract call it


@dataclass(frozen=True, slots=True)
class Plan:
    """How probes are searched for. Those with equal plans are searched for together."""

    strategy: Strategy
    rule: Rule
    k: int
    search_ef: int
    counted: bool = True  # among the live searches, in the metrics

    @property
    def people(self) -> int:
        """How many distinct people the tiers have to name: the decision needs the second one."""
        return max(self.k, 2)


class StageMark(NamedTuple):
    """When a stage began and ended, by `time.perf_counter`."""

    stage: str  # a tier's name, `JOIN` or `RANK`
    began: float
    ended: float


def milliseconds(marks: Iterable[StageMark]) -> Mapping[str, float]:
    """What each stage that ran took, in all its rounds."""
    taken: dict[str, float] = {}
    for stage, began, ended in marks:
        taken[stage] = taken.get(stage, 0.0) + 1e3 * (ended - began)
    return taken
