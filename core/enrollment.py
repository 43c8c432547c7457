"""Enrolling: which photos belong together, whether the person is there already, and the one way in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.config import Settings
from core.errors import Conflict, Unusable
from core.faces import quality
from core.ledger.ledger import Ledger
from core.store.hybrid import HybridVectorStore
from core.tuning import Tuning
from core.types import (
    Candidate,
    Embedding,
    EnrolledPhoto,
    EnrollResult,
    Face,
    NewTemplate,
    PhotoVerdict,
    Reason,
    RejectedPhoto,
)


@dataclass(frozen=True, slots=True)
class EnrollRequest:
    """Who is to be enrolled and how; id and name are checked."""

    user_id: str
    name: str
    metadata: Mapping[str, Any]
    allow_duplicate: bool
    via: str


class Enroller:
    """Enrolls one at a time, from the look at who is there until the tiers know.

    Otherwise two enrollments at once could make one face two people, or two faces one person.
    """

    def __init__(
        self, settings: Settings, ledger: Ledger, store: HybridVectorStore, tuning: Callable[[], Tuning]
    ) -> None:
        self._settings = settings
        self._tuning = tuning
        self._ledger = ledger
        self._store = store
        self._turn = threading.Lock()

    def duplicate_of(self, faces: Sequence[Face], user_id: str | None) -> Candidate | None:
        """Who these faces are already enrolled as, other than `user_id`; None when nobody."""
        threshold = self._tuning().threshold
        found: list[Candidate] = []
        if faces:
            probes = np.stack([face.embedding for face in faces])
            for result in self._store.search_batch(probes, k=2, counted=False):
                found += [c for c in result.candidates if c.user_id != user_id and c.similarity >= threshold]
        return max(found, key=lambda candidate: candidate.similarity, default=None)

    def enroll(
        self,
        request: EnrollRequest,
        verdicts: Sequence[PhotoVerdict],
        unreadable: Sequence[RejectedPhoto] = (),
    ) -> EnrollResult:
        """Raises Unusable: no_usable_photo, Conflict: duplicate_person, Unavailable."""
        with self._turn:
            known = [template.vector for template in self._ledger.templates(request.user_id)]
            usable, rejected = of_one_person(verdicts, known, self._tuning().review_floor)
            rejected = [*unreadable, *rejected]
            if not usable:
                raise no_usable_photo(rejected)
            if not request.allow_duplicate:
                self._refuse_duplicate([face for _, face in usable], request.user_id)
            templates = [self._template(verdict, face, request.via) for verdict, face in usable]
            with self._store.metrics.timed("commit"):
                enrollment = self._ledger.enroll(
                    request.user_id, request.name, templates, metadata=request.metadata or None
                )
            with self._store.metrics.timed("sync"):
                behind = self._store.sync(enrollment.seq)
        enrolled = tuple(
            EnrolledPhoto(verdict.photo, template_id, face.quality.score, verdict.warnings)
            for (verdict, face), template_id in zip(usable, enrollment.template_ids, strict=True)
        )
        return EnrollResult(
            enrollment.person, enrolled, tuple(rejected), not behind, behind, enrollment.created
        )

    def _refuse_duplicate(self, faces: Sequence[Face], user_id: str) -> None:
        other = self.duplicate_of(faces, user_id)
        if other is None:
            return
        raise Conflict(
            "duplicate_person",
            "This person is already enrolled under another name.",
            "Add the photos to that person, or allow the duplicate.",
            detail={"user_id": other.user_id, "name": other.name, "similarity": round(other.similarity, 4)},
        )

    def _template(self, verdict: PhotoVerdict, face: Face, via: str) -> NewTemplate:
        kept = verdict.thumbnail if self._settings.robi_keep_images else None
        return NewTemplate(face.embedding, face.quality.score, via, kept)


def free_user_id(base: str, taken: Callable[[str], bool]) -> str:
    """`base`, or `base-2` and so on: one that is free, found in few looks however many are taken.

    Names without Latin letters all have the same base: counting up would ask once for each of those people.
    """
    if not taken(base):
        return base
    low, high = 1, 2  # `low` is taken
    while taken(f"{base}-{high}"):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if taken(f"{base}-{middle}") else (low, middle)
    return f"{base}-{high}"


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
