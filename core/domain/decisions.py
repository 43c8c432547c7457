"""When a similarity counts, what a picture does not bear out however similar its faces, and how a figure is
shown beside its limit.

Photos and live cameras decide by the same functions; none of them does any I/O.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from core.domain.faces import Face, Reason
from core.domain.search import Decision, SearchResult

TOLERANCE = 1e-6  # float32 similarities on a limit count as reaching it


def reaches(value: float, limit: float) -> bool:
    return value >= limit - TOLERANCE


@dataclass(frozen=True, slots=True, eq=False)
class LookAlikes:
    """Pairs of people who were found to be two, by the smaller and the greater number of each."""

    margins: Mapping[tuple[int, int], float]  # lead over the other that a match of either needs

    def margin(self, persons: Sequence[int]) -> float:
        """What the best two people need between them; 0 when they are no such pair."""
        if not self.margins or len(persons) < 2:
            return 0.0
        low, high = sorted(persons[:2])
        return self.margins.get((low, high), 0.0)


NO_LOOK_ALIKES = LookAlikes({})


@dataclass(frozen=True, slots=True)
class Rule:
    """When a similarity counts. All three are on the scale of cosine similarity."""

    threshold: float
    margin: float
    review_band: float
    look_alikes: LookAlikes = NO_LOOK_ALIKES

    @property
    def review_floor(self) -> float:
        """Similarity from which somebody is proposed."""
        return self.threshold - self.review_band - TOLERANCE

    def decide(self, similarities: Sequence[float], persons: Sequence[int] = ()) -> Decision:
        """The decision for the best people's similarities, best first; the first two matter.

        With their numbers in `persons`, look-alikes need the margin that was set for them, if it is greater.
        """
        if not similarities:
            return Decision.UNKNOWN
        best = similarities[0]
        margin = max(self.margin, self.look_alikes.margin(persons))
        leads = len(similarities) == 1 or best - similarities[1] >= margin - TOLERANCE
        if best >= self.threshold - TOLERANCE and leads:
            return Decision.MATCH
        if best >= self.review_floor:
            return Decision.REVIEW
        return Decision.UNKNOWN


def settled(faces: Sequence[Face], searches: Sequence[SearchResult]) -> tuple[SearchResult, ...]:
    """The decisions for the faces of one picture, each with its search.

    A match is held back for review where the face is unfit to be recognised by, and where another face of
    the picture is more like the same person: nobody is in a picture twice.
    """
    return matched_once(
        [held_back(search, face.quality.rejects) for face, search in zip(faces, searches, strict=True)]
    )


def matched_once(searches: Sequence[SearchResult]) -> tuple[SearchResult, ...]:
    """Those of one picture, where of several that match one person only the most similar still does."""
    likest: dict[str, int] = {}  # whom a face matches, and which face does so best
    for number, search in enumerate(searches):
        if search.best and search.decision is Decision.MATCH:
            rival = likest.setdefault(search.best.user_id, number)
            if search.best.similarity > (searches[rival].best or search.best).similarity:
                likest[search.best.user_id] = number
    first = set(likest.values())
    return tuple(
        held_back(search, (Reason.SAME_PERSON_TWICE,))
        if search.decision is Decision.MATCH and number not in first
        else search
        for number, search in enumerate(searches)
    )


def held_back(search: SearchResult, reasons: Sequence[Reason]) -> SearchResult:
    """The same with what speaks against a match; where it would be one, it is for review."""
    if not reasons:
        return search
    decision = Decision.REVIEW if search.decision is Decision.MATCH else search.decision
    return replace(search, decision=decision, held_back_by=tuple(reasons))


def shown(value: float, limit: float, decimals: int) -> float:
    """`value` rounded, but never across the limit: what is shown to reach it did reach it."""
    near, reached = float(round(value, decimals)), reaches(value, limit)
    if (near >= limit) == reached:
        return near
    scale = 10.0**decimals
    if reached:
        return math.ceil(max(value, limit) * scale) / scale
    return math.floor(value * scale) / scale
