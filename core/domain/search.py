"""How a probe is searched for, and what is found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from core.domain.faces import Reason


class Strategy(StrEnum):
    """How a probe is searched for in the two vector tiers."""

    HYBRID = "hybrid"  # both tiers at once, merged; whoever cannot change the answer is not waited for
    FAISS_FIRST = "faiss_first"  # the hot tier, then the cold one when that is not enough
    QDRANT_ONLY = "qdrant_only"  # the cold tier alone


class Decision(StrEnum):
    """What a similarity and a threshold amount to."""

    MATCH = "match"
    REVIEW = "review"
    UNKNOWN = "unknown"


class Source(StrEnum):
    """Where a candidate was found."""

    FAISS = "faiss"
    QDRANT = "qdrant"
    BOTH = "both"
    LEDGER = "ledger"  # 1:1 compares with the person's own templates; nothing is searched


class Hit(NamedTuple):  # made by the thousand: a tuple takes a third of the time
    """A template that a tier proposes. The ledger decides whether it still exists and whose it is."""

    template_id: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person proposed for a probe, with the best similarity (cosine, -1..1) of their templates."""

    user_id: str
    name: str
    similarity: float
    source: Source
    template_id: int


@dataclass(frozen=True, slots=True)
class SearchTimings:
    """Milliseconds on a monotonic clock; a stage that did not run is None."""

    total: float
    hot: float | None = None
    cold: float | None = None
    merge: float | None = None
    join: float | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Distinct people, best first, and how they were found."""

    candidates: tuple[Candidate, ...]
    decision: Decision
    strategy: Strategy | None  # None: 1:1 compares with one person's templates, and nothing is searched
    threshold: float
    tiers: tuple[str, ...]  # the tiers that answered
    degraded: tuple[str, ...]  # the tiers that should have answered and could not
    cache_top1_wrong: bool  # the hot tier's best person was not the final best
    timings: SearchTimings
    review_floor: float = -1.0  # similarity below which nobody is proposed
    held_back_by: tuple[Reason, ...] = ()  # why it is no match, however similar

    @property
    def best(self) -> Candidate | None:
        return self.candidates[0] if self.candidates else None

    @property
    def proposed(self) -> tuple[Candidate, ...]:
        """The candidates to name: those down to the review band, and in 1:1 the person who was asked about.

        Who comes below is a stranger's nearest neighbour, and would be taken for a suspect.
        """
        return tuple(
            c for c in self.candidates if c.source is Source.LEDGER or c.similarity >= self.review_floor
        )
