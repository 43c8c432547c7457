"""Who is in a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.domain.faces import Face, Reason
from core.domain.search import Candidate, Decision, SearchResult, Strategy


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """How faces are checked: against everybody (1:N), or with `user_id` against that person only (1:1).

    None is what is tuned at the moment of each check.
    """

    strategy: Strategy | None = None
    threshold: float | None = None
    user_id: str | None = None
    top_k: int = 5


class _Searched:
    """What was searched for, in the words of whoever asked."""

    __slots__ = ()
    search: SearchResult

    @property
    def decision(self) -> Decision:
        return self.search.decision

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Who it may be, best first; nobody below the review band."""
        return self.search.proposed

    @property
    def best(self) -> Candidate | None:
        """Whom it resembles most; None for a stranger."""
        return self.candidates[0] if self.candidates else None


@dataclass(frozen=True, slots=True, eq=False)
class FaceResult(_Searched):
    """One face of a picture and who it may be."""

    face: Face
    search: SearchResult


@dataclass(frozen=True, slots=True, eq=False)
class VerifyResult(_Searched):
    """The largest face of a picture, checked 1:N or, when `user_id` was given, 1:1."""

    face: Face
    faces: int  # in the picture
    search: SearchResult
    verified: bool
    latency_ms: Mapping[str, float]  # detect, embed, search, total
    warnings: tuple[Reason, ...] = ()  # about the picture: what of it was not looked at


@dataclass(frozen=True, slots=True, eq=False)
class IdentifyResult:
    faces: tuple[FaceResult, ...]
    latency_ms: Mapping[str, float]
    faces_left_out: int = 0  # smaller ones, beyond as many as are looked up
    warnings: tuple[Reason, ...] = ()  # about the picture: what of it was not looked at
