"""Enrolling people from photos, and adding photos to a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.domain.errors import BadInput, RobiError, TooLarge
from core.domain.faces import Face, PhotoVerdict
from core.domain.people import EnrollResult, RejectedPhoto
from core.domain.validation import MAX_PHOTOS, checked_metadata, checked_name, checked_user_id
from core.metrics import ENROLLMENT, Metrics, as_request
from core.services.enroller import Enroller, EnrollRequest
from core.services.photo_rules import Compared, compared
from core.services.pictures import Pictures
from core.services.tuning import Tuner
from core.telemetry import tracing


class Enrollment:
    """Safe to call from many threads; one enrollment at a time is decided on."""

    def __init__(self, metrics: Metrics, pictures: Pictures, enroller: Enroller, tuning: Tuner) -> None:
        self.metrics = metrics
        self._pictures = pictures
        self._enroller = enroller
        self._tuning = tuning

    @tracing.traced
    @as_request(ENROLLMENT)
    def enroll(
        self,
        user_id: str,
        name: str | None,
        photos: Sequence[tuple[str, bytes]],
        *,
        metadata: Mapping[str, object] | None = None,
        add_to_existing: bool = False,
        allow_duplicate: bool = False,
        via: str = "upload",
    ) -> EnrollResult:
        """Enroll a new person from image files, or add photos to a person; each as (its name, its bytes).

        Which of the two is meant must be said: nobody is added to, or enrolled anew, by a mistake. With
        `add_to_existing` the person keeps their name, and each photo must match most of those that the
        person was enrolled with. A photo that is there already is among the `rejected` and no mistake.
        So is a file that is no readable image; it raises only if it is the only one.

        Raises:
            BadInput: invalid_user_id, invalid_name, invalid_metadata, bad_parameter (no photo).
            TooLarge: too_many_images, image_too_large, metadata_too_large.
            UnsupportedImage, Unusable: no_usable_photo, or what is wrong with the only photo.
            Conflict: person_exists, or duplicate_person with who it is in `detail`.
            NotFound: unknown_person, when photos are to be added.
            Unavailable: disk_full, ledger_unavailable.
        """
        request = _request(user_id, name, metadata, add_to_existing, allow_duplicate, via)
        _check_number(len(photos))
        verdicts: list[PhotoVerdict] = []
        unreadable: list[RejectedPhoto] = []
        for photo, data in photos:
            try:
                verdicts.append(self._pictures.inspect(photo, data))
            except RobiError as problem:
                if len(photos) == 1:
                    raise
                unreadable.append(RejectedPhoto(photo, (problem.code,)))
        return self._enroller.enroll(request, verdicts, unreadable)

    @tracing.traced
    @as_request(ENROLLMENT)
    def enroll_verdicts(
        self,
        user_id: str,
        name: str | None,
        verdicts: Sequence[PhotoVerdict],
        *,
        metadata: Mapping[str, object] | None = None,
        add_to_existing: bool = False,
        allow_duplicate: bool = False,
        via: str = "webcam",
    ) -> EnrollResult:
        """As `enroll`, for photos that were inspected before: captured live, or shown to the operator."""
        request = _request(user_id, name, metadata, add_to_existing, allow_duplicate, via)
        _check_number(len(verdicts))
        return self._enroller.enroll(request, verdicts)

    def compare_photos(self, faces: Sequence[Face]) -> Compared:
        """Whether faces that are to be enrolled show one person, and which of them do not."""
        return compared(faces, self._tuning.now.threshold)


def _request(
    user_id: str,
    name: str | None,
    metadata: Mapping[str, object] | None,
    add_to_existing: bool,
    allow_duplicate: bool,
    via: str,
) -> EnrollRequest:
    checked_user_id(user_id)
    clean = checked_name(name if name is not None else user_id)
    noted = {} if metadata is None else checked_metadata(metadata)  # before any photo is looked at
    return EnrollRequest(user_id, clean, noted, add_to_existing, allow_duplicate, via)


def _check_number(photos: int) -> None:
    if not photos:
        raise BadInput("bad_parameter", "No photo was sent.", f"Send 1 to {MAX_PHOTOS} photos of the person.")
    if photos > MAX_PHOTOS:
        raise TooLarge(
            "too_many_images", f"More than {MAX_PHOTOS} photos were sent.", f"Send the best {MAX_PHOTOS}."
        )
