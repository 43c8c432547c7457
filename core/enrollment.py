"""Which photos can be enrolled together, and what to say when none can."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.errors import Unusable
from core.faces import quality
from core.types import Embedding, Face, PhotoVerdict, Reason, RejectedPhoto


def of_one_person(
    verdicts: Sequence[PhotoVerdict], known: Sequence[Embedding], floor: float
) -> tuple[list[tuple[PhotoVerdict, Face]], list[RejectedPhoto]]:
    """Split photos into usable ones of one person, and the rest with reasons.

    Args:
        known: the person's enrolled templates; for somebody new, the best photo says who it is.
        floor: similarity below which a photo shows somebody else.
    """
    rejected = [RejectedPhoto(v.photo, tuple(r.value for r in v.rejects)) for v in verdicts if not v.face]
    usable = [(v, v.face) for v in verdicts if v.face]
    if not usable:
        return [], rejected
    best = max((face for _, face in usable), key=lambda face: face.quality.score)
    reference = np.stack(known or [best.embedding])
    same: list[tuple[PhotoVerdict, Face]] = []
    for verdict, face in usable:
        if float(np.max(reference @ face.embedding)) >= floor:
            same.append((verdict, face))
        else:
            rejected.append(RejectedPhoto(verdict.photo, (Reason.DIFFERENT_PERSON.value,)))
    return same, rejected


def no_usable_photo(rejected: Sequence[RejectedPhoto]) -> Unusable:
    reasons = {reason for photo in rejected for reason in photo.reasons}
    sentences = [quality.sentence(Reason(reason)) for reason in sorted(reasons) if reason in set(Reason)]
    return Unusable(
        "no_usable_photo",
        "No photo can be used.",
        " ".join(sentences[:2]) or "Take another photo.",
        detail={"rejected": [{"image": p.photo, "reasons": list(p.reasons)} for p in rejected]},
    )
