"""Enrolling: the one way in, for photos that were looked at."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.config.settings import Settings
from core.domain.errors import Conflict
from core.domain.faces import Embedding, Face, PhotoVerdict, Reason
from core.domain.people import CommittedEnrollment, EnrolledPhoto, EnrollResult, RejectedPhoto
from core.domain.templates import NewTemplate, StoredTemplate
from core.ledger.people import PeopleRegister, person_exists
from core.services import photo_rules
from core.services.duplicates import Duplicates
from core.services.photo_selection import PhotoSelection
from core.services.tuning import Tuner
from core.store.hybrid import HybridVectorStore


@dataclass(frozen=True, slots=True)
class EnrollRequest:
    """Who is to be enrolled and how; id and name are checked."""

    user_id: str
    name: str
    metadata: Mapping[str, object]
    add_to_existing: bool  # False: the person must not be there yet; True: must be
    allow_duplicate: bool
    via: str


class Enroller:
    """Enrolls one at a time, from the look at who is there until the tiers know.

    Otherwise two enrollments at once could make one face two people, or two faces one person.
    """

    def __init__(
        self,
        settings: Settings,
        people: PeopleRegister,
        store: HybridVectorStore,
        duplicates: Duplicates,
        tuning: Tuner,
    ) -> None:
        self._keeps_images = settings.robi_keep_images
        self._people = people
        self._store = store
        self._duplicates = duplicates
        self._tuning = tuning
        self._turn = threading.Lock()

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
            photos = PhotoSelection.of(verdicts, unreadable)
            if request.add_to_existing:
                return self._add(request, photos)
            return self._create(request, photos)

    def _create(self, request: EnrollRequest, photos: PhotoSelection) -> EnrollResult:
        if self._people.find(request.user_id) is not None:
            raise self._exists(request.user_id, photos.faces)
        threshold = self._tuning.now.threshold
        photos.keep(photo_rules.not_twice(photos.faces, ()), Reason.ALREADY_THERE)
        photos.keep(photo_rules.of_one_person(photos.faces, threshold), Reason.DIFFERENT_PERSON)
        if not request.allow_duplicate:
            self._duplicates.refuse(photos.faces, request.user_id)
        photos.refuse_none()
        new = self._templates(photos, request.via)
        with self._store.metrics.timed("commit"):
            enrollment = self._people.enroll(
                request.user_id, request.name, new, metadata=request.metadata or None
            )
        return self._done(enrollment, photos)

    def _add(self, request: EnrollRequest, photos: PhotoSelection) -> EnrollResult:
        user_id = request.user_id
        person, own = self._people.one(user_id), self._people.templates(user_id)
        vouched = _vectors([template for template in own if template.vouched])
        photos.keep(photo_rules.not_twice(photos.faces, _vectors(own)), Reason.ALREADY_THERE)
        self._keep_theirs(photos, user_id, vouched)
        if not photos.left and any(Reason.ALREADY_THERE in photo.reasons for photo in photos.rejected):
            return EnrollResult(person, (), tuple(photos.rejected), True, (), created=False)
        photos.refuse_none()
        new = self._templates(photos, request.via)
        with self._store.metrics.timed("commit"):
            enrollment = self._people.add_templates(
                user_id,
                new,
                metadata=request.metadata or None,
                similarities=[photo_rules.median_similarity(face, vouched) for face in photos.faces],
            )
        return self._done(enrollment, photos)

    def _keep_theirs(self, photos: PhotoSelection, user_id: str, vouched: Sequence[Embedding]) -> None:
        """Keep the photos that show this person, and nobody else as well."""
        threshold = self._tuning.now.threshold
        theirs = [photo_rules.is_vouched(face, vouched, threshold) for face in photos.faces]
        photos.keep(theirs, Reason.DIFFERENT_PERSON)
        found = self._duplicates.resembling(photos.faces)
        photos.keep([not photo_rules.fits_two(result) for result in found], Reason.FITS_TWO_PEOPLE)
        found = [result for result in found if not photo_rules.fits_two(result)]
        others = [photo_rules.of_another(result, user_id) for result in found]
        photos.keep([not other for other in others], Reason.DIFFERENT_PERSON)

    def _done(self, enrollment: CommittedEnrollment, photos: PhotoSelection) -> EnrollResult:
        with self._store.metrics.timed("sync"):
            behind = self._store.sync(enrollment.seq)
        enrolled = tuple(
            EnrolledPhoto(photo.verdict.photo, template_id, photo.face.quality.score, photo.verdict.warnings)
            for photo, template_id in zip(photos.left, enrollment.template_ids, strict=True)
        )
        return EnrollResult(
            enrollment.person, enrolled, tuple(photos.rejected), not behind, behind, enrollment.created
        )

    def _exists(self, user_id: str, faces: Sequence[Face]) -> Conflict:
        """Whoever sends a request again after a lost answer learns that it had arrived."""
        own = self._people.templates(user_id)
        same = bool(faces) and not any(photo_rules.not_twice(faces, _vectors(own)))
        return person_exists(user_id, same_photos=same)

    def _templates(self, photos: PhotoSelection, via: str) -> list[NewTemplate]:
        return [
            NewTemplate(
                photo.face.embedding,
                photo.face.quality.score,
                via,
                photo.verdict.thumbnail if self._keeps_images else None,
            )
            for photo in photos.left
        ]


def _vectors(templates: Sequence[StoredTemplate]) -> list[Embedding]:
    return [template.vector for template in templates]
