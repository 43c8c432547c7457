"""Enrolling: which photos belong together, whether the person is there already, and the one way in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.config.settings import Settings
from core.domain.errors import Conflict, Unusable
from core.domain.faces import Embedding, Face, PhotoVerdict, Reason
from core.domain.people import CommittedEnrollment, EnrolledPhoto, EnrollResult, RejectedPhoto
from core.domain.search import Candidate, Decision, SearchResult
from core.domain.templates import NewTemplate
from core.faces import quality
from core.ledger.ledger import Ledger
from core.ledger.people import person_exists
from core.services.tuning import Tuner
from core.store.hybrid import HybridVectorStore

SAME_PHOTO = 0.999
"""Similarity from which two photos are one: another frame of one film stays below, another file of one
picture (scaled, compressed again) above."""


@dataclass(frozen=True, slots=True)
class Compared:
    """How photos of one enrollment fit together, flags in their order."""

    people: int  # how many the photos show
    belongs: tuple[bool, ...]  # to the person of most photos
    new: tuple[bool, ...]  # not the very photo of an earlier one


@dataclass(frozen=True, slots=True)
class EnrollRequest:
    """Who is to be enrolled and how; id and name are checked."""

    user_id: str
    name: str
    metadata: Mapping[str, Any]
    add_to_existing: bool  # False: the person must not be there yet; True: must be
    allow_duplicate: bool
    via: str


@dataclass(frozen=True, slots=True, eq=False)
class _Usable:
    """A photo that can be enrolled."""

    verdict: PhotoVerdict
    face: Face


@dataclass(slots=True)
class _Sorted:
    """Photos on their way through the checks: each either goes on or leaves with a reason."""

    left: list[_Usable]
    rejected: list[RejectedPhoto]

    @classmethod
    def of(cls, verdicts: Sequence[PhotoVerdict], unreadable: Sequence[RejectedPhoto]) -> _Sorted:
        poor = [RejectedPhoto(v.photo, tuple(r.value for r in v.rejects)) for v in verdicts if not v.face]
        return cls([_Usable(v, v.face) for v in verdicts if v.face], [*unreadable, *poor])

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


class Enroller:
    """Enrolls one at a time, from the look at who is there until the tiers know.

    Otherwise two enrollments at once could make one face two people, or two faces one person.
    """

    def __init__(self, settings: Settings, ledger: Ledger, store: HybridVectorStore, tuning: Tuner) -> None:
        self._settings = settings
        self._tuning = tuning
        self._ledger = ledger
        self._store = store
        self._turn = threading.Lock()

    def duplicate_of(self, faces: Sequence[Face], user_id: str | None) -> Candidate | None:
        """Who these faces are already enrolled as, other than `user_id`; None when nobody."""
        threshold = self._tuning.now.threshold
        found = [
            candidate
            for result in self._resembling(faces)
            for candidate in result.candidates
            if candidate.user_id != user_id and candidate.similarity >= threshold
        ]
        return max(found, key=lambda candidate: candidate.similarity, default=None)

    def enroll(
        self,
        request: EnrollRequest,
        verdicts: Sequence[PhotoVerdict],
        unreadable: Sequence[RejectedPhoto] = (),
    ) -> EnrollResult:
        """
        Raises:
            Unusable: no_usable_photo. Conflict: person_exists, duplicate_person. NotFound: unknown_person.
            Unavailable.
        """
        with self._turn:
            photos = _Sorted.of(verdicts, unreadable)
            if request.add_to_existing:
                return self._add(request, photos)
            return self._create(request, photos)

    def _create(self, request: EnrollRequest, photos: _Sorted) -> EnrollResult:
        if self._ledger.people.find(request.user_id) is not None:
            raise self._exists(request.user_id, photos.faces)
        photos.keep(_not_twice(photos.faces, ()), Reason.ALREADY_THERE)
        photos.keep(_of_one_person(photos.faces, self._tuning.now.threshold), Reason.DIFFERENT_PERSON)
        if not request.allow_duplicate:
            self._refuse_duplicate(photos.faces, request.user_id)
        self._refuse_none(photos)
        with self._store.metrics.timed("commit"):
            enrollment = self._ledger.people.enroll(
                request.user_id,
                request.name,
                self._templates(photos.left, request.via),
                metadata=request.metadata or None,
            )
        return self._done(enrollment, photos)

    def _add(self, request: EnrollRequest, photos: _Sorted) -> EnrollResult:
        user_id = request.user_id
        person = self._ledger.people.one(user_id)
        own = self._ledger.people.templates(user_id)
        photos.keep(_not_twice(photos.faces, [one.vector for one in own]), Reason.ALREADY_THERE)
        threshold, vouched = self._tuning.now.threshold, [one.vector for one in own if one.vouched]
        photos.keep([_is_vouched(face, vouched, threshold) for face in photos.faces], Reason.DIFFERENT_PERSON)
        found = self._resembling(photos.faces)
        photos.keep([not fits_two(result) for result in found], Reason.FITS_TWO_PEOPLE)
        found = [result for result in found if not fits_two(result)]
        photos.keep([not _of_another(result, user_id) for result in found], Reason.DIFFERENT_PERSON)
        if not photos.left and any(Reason.ALREADY_THERE in photo.reasons for photo in photos.rejected):
            return EnrollResult(person, (), tuple(photos.rejected), True, (), created=False)
        self._refuse_none(photos)
        with self._store.metrics.timed("commit"):
            enrollment = self._ledger.people.add_templates(
                user_id,
                self._templates(photos.left, request.via),
                metadata=request.metadata or None,
                similarities=[_median(face, vouched) for face in photos.faces],
            )
        return self._done(enrollment, photos)

    def _done(self, enrollment: CommittedEnrollment, photos: _Sorted) -> EnrollResult:
        with self._store.metrics.timed("sync"):
            behind = self._store.sync(enrollment.seq)
        enrolled = tuple(
            EnrolledPhoto(photo.verdict.photo, template_id, photo.face.quality.score, photo.verdict.warnings)
            for photo, template_id in zip(photos.left, enrollment.template_ids, strict=True)
        )
        return EnrollResult(
            enrollment.person, enrolled, tuple(photos.rejected), not behind, behind, enrollment.created
        )

    def _resembling(self, faces: Sequence[Face]) -> list[SearchResult]:
        """The two people whom each face resembles most."""
        if not faces:
            return []
        probes = np.stack([face.embedding for face in faces])
        return self._store.search_batch(probes, k=2, counted=False)

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

    def _refuse_none(self, photos: _Sorted) -> None:
        if not photos.left:
            raise no_usable_photo(photos.rejected)

    def _exists(self, user_id: str, faces: Sequence[Face]) -> Conflict:
        """Whoever sends a request again after a lost answer learns that it had arrived."""
        own = [template.vector for template in self._ledger.people.templates(user_id)]
        same = bool(faces) and not any(_not_twice(faces, own))
        return person_exists(user_id, same_photos=same)

    def _templates(self, photos: Sequence[_Usable], via: str) -> list[NewTemplate]:
        keep = self._settings.robi_keep_images
        return [
            NewTemplate(
                photo.face.embedding,
                photo.face.quality.score,
                via,
                photo.verdict.thumbnail if keep else None,
            )
            for photo in photos
        ]


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


def fits_two(result: SearchResult) -> bool:
    """Whether two enrolled people resemble a face so much alike that it may be either's.

    It reaches the threshold, and yet is no match: the second person is too near, also by the margin of a
    confirmed pair.
    """
    best = result.best
    return best is not None and best.similarity >= result.threshold and result.decision is not Decision.MATCH


def _of_another(result: SearchResult, user_id: str) -> bool:
    """Whether a face is somebody else's by far, however well it agrees with this person's photos too."""
    best = result.best
    return best is not None and best.similarity >= result.threshold and best.user_id != user_id


def compared(faces: Sequence[Face], threshold: float) -> Compared:
    """How photos fit together. Where nobody has more of them than another, none is said to belong."""
    new = _not_twice(faces, ())
    groups = _groups(faces, threshold)
    sizes = sorted((groups.count(group) for group in set(groups)), reverse=True)
    tied = len(sizes) > 1 and sizes[0] == sizes[1]
    belongs = [False] * len(faces) if tied else _of_one_person(faces, threshold)
    return Compared(len(sizes), tuple(belongs), tuple(new))


def _groups(faces: Sequence[Face], threshold: float) -> list[int]:
    """For each face the number of its group: whoever agrees with one of a group is of it."""
    groups = list(range(len(faces)))
    for n, face in enumerate(faces):
        for m in range(n):
            if groups[n] != groups[m] and float(faces[m].embedding @ face.embedding) >= threshold:
                groups = [groups[m] if group == groups[n] else group for group in groups]
    return groups


def _not_twice(faces: Sequence[Face], known: Sequence[Embedding]) -> list[bool]:
    """For each face, whether its photo is neither among `known` nor came earlier."""
    there = list(known)
    new: list[bool] = []
    for face in faces:
        is_new = not there or float(np.max(np.stack(there) @ face.embedding)) < SAME_PHOTO
        new.append(is_new)
        if is_new:
            there.append(face.embedding)
    return new


def _of_one_person(faces: Sequence[Face], threshold: float) -> list[bool]:
    """For each face, whether it shows the person of the photo that most others agree with.

    One photo that resembles two people brings nobody in: a face must agree with more than half of the others.
    """
    if not faces:
        return []
    vectors = np.stack([face.embedding for face in faces])
    agree = vectors @ vectors.T >= threshold
    scores = [(int(agree[n].sum()), faces[n].quality.score) for n in range(len(faces))]
    centre = max(range(len(faces)), key=scores.__getitem__)
    group = agree[centre]
    with_group = (agree & group).sum(axis=1) - group  # a face is no witness for itself
    others = group.sum() - group
    return [bool(group[n] and (2 * with_group[n] > others[n] or not others[n])) for n in range(len(faces))]


def _is_vouched(face: Face, vouched: Sequence[Embedding], threshold: float) -> bool:
    """Whether a face reaches the threshold against more than half of the templates that say who it is."""
    agreeing = sum(float(vector @ face.embedding) >= threshold for vector in vouched)
    return 2 * agreeing > len(vouched)


def _median(face: Face, vouched: Sequence[Embedding]) -> float:
    return float(np.median(np.stack(vouched) @ face.embedding))


def no_usable_photo(rejected: Sequence[RejectedPhoto]) -> Unusable:
    reasons = {reason for photo in rejected for reason in photo.reasons}
    sentences = [quality.sentence(Reason(reason)) for reason in sorted(reasons) if reason in set(Reason)]
    return Unusable(
        "no_usable_photo",
        "No photo can be used.",
        " ".join(sentences[:2]) or "Take another photo.",
        detail={"rejected": [{"image": p.photo, "reasons": list(p.reasons)} for p in rejected]},
    )
