"""The photos of one enrollment on their way through the checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.domain.errors import Unusable
from core.domain.faces import Face, PhotoVerdict, Reason
from core.domain.people import RejectedPhoto
from core.faces import quality


@dataclass(frozen=True, slots=True, eq=False)
class UsablePhoto:
    """A photo that can be enrolled."""

    verdict: PhotoVerdict
    face: Face


@dataclass(slots=True)
class PhotoSelection:
    """Each photo either goes on to the next check or leaves with a reason."""

    left: list[UsablePhoto]
    rejected: list[RejectedPhoto]

    @classmethod
    def of(cls, verdicts: Sequence[PhotoVerdict], unreadable: Sequence[RejectedPhoto]) -> PhotoSelection:
        poor = [RejectedPhoto(v.photo, tuple(r.value for r in v.rejects)) for v in verdicts if not v.face]
        return cls([UsablePhoto(v, v.face) for v in verdicts if v.face], [*unreadable, *poor])

    def keep(self, passed: Iterable[bool], reason: Reason) -> None:
        """Keep the photos that passed, one flag for each in order; the others are refused for `reason`."""
        judged = list(zip(self.left, passed, strict=True))
        self.left = [photo for photo, good in judged if good]
        self.rejected += [
            RejectedPhoto(photo.verdict.photo, (reason.value,)) for photo, good in judged if not good
        ]

    @property
    def faces(self) -> list[Face]:
        return [photo.face for photo in self.left]

    def refuse_none(self) -> None:
        """
        Raises:
            Unusable: no_usable_photo, when none is left; with the reasons.
        """
        if not self.left:
            raise _no_usable_photo(self.rejected)


def _no_usable_photo(rejected: Sequence[RejectedPhoto]) -> Unusable:
    reasons = {reason for photo in rejected for reason in photo.reasons}
    sentences = [quality.sentence(Reason(reason)) for reason in sorted(reasons) if reason in set(Reason)]
    return Unusable(
        "no_usable_photo",
        "No photo can be used.",
        " ".join(sentences[:2]) or "Take another photo.",
        detail={"rejected": [{"image": p.photo, "reasons": list(p.reasons)} for p in rejected]},
    )
