"""One decision for one track: what many frames of one face say together, kept steady. No I/O.

A single frame near a limit falls on either side of it by noise alone. So the frames of a track are weighed
into one embedding, which is searched for instead of the newest; a decision is taken when several such
searches agree, and is overturned only when the evidence has left its band clearly and for a while.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.domain.faces import Face, Quality
from core.domain.search import Decision, SearchResult

AGREE = 3  # searches in a row that must say the same before anything is decided
OVERTURN_S = 1.0  # and for how long they must say something else before it is decided anew
CLEAR = 0.02  # by how much the similarity must have left the band of the decision that stands
MEMORY_S = 3.0  # a frame's weight falls to a third within this
_UNFIT = 0.05  # weight of a frame that quality rejects, beside one that it does not


class Verdict(NamedTuple):
    decision: Decision
    user_id: str | None  # None where nobody is named

    @classmethod
    def of(cls, search: SearchResult) -> Verdict:
        best = search.best if search.decision is not Decision.UNKNOWN else None
        return cls(search.decision, best.user_id if best else None)


@dataclass(frozen=True, slots=True, eq=False)
class _Shot:
    """How good the best recent frame was."""

    quality: Quality
    at: float

    def outdone_by(self, other: _Shot) -> bool:
        if other.at - self.at > MEMORY_S:
            return True
        return (other.quality.usable, other.quality.score) >= (self.quality.usable, self.quality.score)


class TrackDecision:
    """Fed with every frame of one track in turn: first `weigh`, then `see` what the search for it found."""

    def __init__(self) -> None:
        self.settled: SearchResult | None = None
        """The newest search that says what is decided; None until enough of them have agreed."""
        self._sum: NDArray[np.float64] | None = None
        self._at = 0.0
        self._best: _Shot | None = None
        self._rival: Verdict | None = None  # the other verdict of the latest searches
        self._streak = 0  # how many of them in a row said so
        self._since = 0.0  # and since when
        self._at_once = False  # the next search decides alone

    def weigh(self, face: Face, at: float) -> Face:
        """`face` as the track's frames show it together: their weighed embedding, the best one's quality."""
        quality = face.quality
        added = face.embedding.astype(np.float64) * max(quality.score, 0.01)
        added *= 1.0 if quality.usable else _UNFIT
        if self._sum is None:
            self._sum = added
        else:
            self._sum = self._sum * math.exp(-max(0.0, at - self._at) / MEMORY_S) + added
        self._at = at
        shot = _Shot(quality, at)
        if self._best is None or self._best.outdone_by(shot):
            self._best = shot
        fused = (self._sum / np.linalg.norm(self._sum)).astype(np.float32)
        return replace(face, embedding=fused, quality=self._best.quality)

    def see(self, search: SearchResult, at: float) -> None:
        verdict = Verdict.of(search)
        if self.settled is not None and verdict == Verdict.of(self.settled):
            self.settled, self._rival = search, None
            return
        if self.settled is not None and not _clearly_other(search, self.settled):
            self._rival = None
            return
        if verdict != self._rival:
            self._rival, self._streak, self._since = verdict, 0, at
        self._streak += 1
        if self._is_enough(at):
            self.settled, self._rival, self._at_once = search, None, False

    def reopen(self) -> None:
        """What decided no longer holds: other limits, an erased person. The next search decides at once."""
        self._at_once = self._at_once or self.settled is not None
        self.settled = self._rival = self._best = None

    def _is_enough(self, at: float) -> bool:
        if self.settled is None:
            return self._at_once or self._streak >= AGREE
        return self._streak >= AGREE and at - self._since >= OVERTURN_S


def _clearly_other(new: SearchResult, old: SearchResult) -> bool:
    """Whether another verdict comes of other evidence, and not of noise about a limit."""
    similarity = new.best.similarity if new.best else -1.0
    low, high = _band(old)
    if similarity < low:
        return similarity < low - CLEAR
    if similarity >= high:
        return similarity >= high + CLEAR
    before, now = Verdict.of(old).user_id, Verdict.of(new).user_id
    if before and now and before != now:
        theirs = next((c.similarity for c in new.candidates if c.user_id == before), -1.0)
        return similarity - theirs >= CLEAR
    return True  # equally similar: what changed is the lead over somebody else, or the picture's quality


def _band(search: SearchResult) -> tuple[float, float]:
    """The range of similarities that goes with its decision: from the first number, below the second."""
    if search.decision is Decision.MATCH:
        return search.threshold, math.inf
    if search.decision is Decision.REVIEW:
        return search.review_floor, search.threshold
    return -math.inf, search.review_floor
