"""Calibrates on an uploaded set of labelled images instead of the gallery. It is kept in memory alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.calibration.archive import REASONS, Labelled, count_files, labelled_images
from core.calibration.calibrate import IMPOSTORS, of_faces
from core.calibration.faces import Faces
from core.calibration.look_alikes import closest
from core.calibration.progress import ProgressWatch, Step
from core.calibration.score_blocks import own_best
from core.calibration.uploaded import Evaluation, Extreme, Skipped, Upload
from core.domain.errors import RobiError, Unusable
from core.domain.faces import Embedding, Purpose
from core.domain.statistics import wilson
from core.faces import images
from core.services.service import RobiService

MOST_EXTREMES = 12  # of each kind
MOST_LISTED = 500  # files that are named among the failed and among the skipped


@dataclass(frozen=True, slots=True, eq=False)
class _Enrolled:
    path: str
    label: str
    embedding: Embedding
    thumbnail: bytes


class _Set:
    """What became of each file so far."""

    def __init__(self) -> None:
        self.enrolled: list[_Enrolled] = []
        self.failures: Counter[str] = Counter()
        self.failed: list[Skipped] = []
        self.skipped: list[Skipped] = []

    def fail(self, path: str, reasons: Sequence[str]) -> None:
        self.failures.update(reasons)
        self.failed.append(Skipped(path, reasons[0]))

    @property
    def images(self) -> int:
        return len(self.enrolled) + len(self.failed)


def evaluate(
    uploads: Sequence[Upload],
    service: RobiService,
    *,
    impostors: int = IMPOSTORS,
    seed: int = 0,
    watch: ProgressWatch | None = None,
) -> Evaluation:
    """Verification and identification figures of the pack in use on these images.

    Of each image the largest face counts, if it could be enrolled; the folder that the image lies in says who
    it is. The figures come about as those of the gallery do.

    Raises:
        Unusable: `bad_archive`, `no_usable_photo` when no image can be enrolled, `not_enough_templates`.
        TooLarge: `archive_too_large`.
        Conflict: `cancelled`.
    """
    watch = watch or ProgressWatch()
    found = _read(uploads, service, watch.part(0.0, 0.8, "Finding the faces"))
    if not found.enrolled:
        raise _nobody(found)
    ordered = sorted(found.enrolled, key=lambda one: one.label)
    faces = _faces(ordered)
    calibration = of_faces(
        faces,
        service.engine.pack,
        service.store.rule(),
        impostors=impostors,
        seed=seed,
        watch=watch.within(0.8, 1.0),
    )
    return Evaluation(
        calibration=calibration,
        images=found.images,
        enrolled=len(ordered),
        failure_interval=wilson(found.images - len(ordered), found.images),
        failures=dict(found.failures.most_common()),
        failed=tuple(found.failed[:MOST_LISTED]),
        skipped=tuple(found.skipped[:MOST_LISTED]),
        skipped_files=len(found.skipped),
        extremes=_extremes(faces, ordered),
    )


def _read(uploads: Sequence[Upload], service: RobiService, step: Step) -> _Set:
    total = max(1, count_files(uploads))
    found = _Set()
    most_bytes = service.settings.robi_max_upload_mb * 1_000_000
    for number, file in enumerate(labelled_images(uploads, most_bytes)):
        step(number / total)
        if isinstance(file, Skipped):
            found.skipped.append(file)
        else:
            _enroll(file, service, found)
    return found


def _enroll(file: Labelled, service: RobiService, found: _Set) -> None:
    """By the engine itself: the service would count it among the live recognitions."""
    try:
        image = service.pictures.decode(file.data)
        faces = service.engine.analyze(image, purpose=Purpose.ENROLL).faces
    except RobiError as problem:
        found.fail(file.path, [problem.code])
        return
    if not faces:
        found.fail(file.path, ["no_face"])
    elif faces[0].quality.rejects:
        found.fail(file.path, [reason.value for reason in faces[0].quality.rejects])
    else:
        thumbnail = images.thumbnail(image, faces[0].box)
        found.enrolled.append(_Enrolled(file.path, file.label, faces[0].embedding, thumbnail))


def _faces(ordered: Sequence[_Enrolled]) -> Faces:
    _, persons = np.unique([one.label for one in ordered], return_inverse=True)
    vectors = np.stack([one.embedding for one in ordered])
    return Faces.of(vectors, persons.astype(np.int64), np.arange(len(ordered)))


def _extremes(faces: Faces, ordered: Sequence[_Enrolled]) -> tuple[Extreme, ...]:
    """The genuine pictures least alike, then the closest pairs of people; two pictures once."""
    best = own_best(faces)
    known = np.flatnonzero(~np.isnan(best))
    weakest = known[np.argsort(best[known], kind="stable")[: 2 * MOST_EXTREMES]].tolist()
    pairs = dict.fromkeys(tuple(sorted((row, _nearest_own(faces, row)))) for row in weakest)
    found = [
        _extreme(ordered[one], ordered[other], float(faces.vectors[one] @ faces.vectors[other]), genuine=True)
        for one, other in list(pairs)[:MOST_EXTREMES]
    ]
    alike = closest(faces, MOST_EXTREMES)
    for one, other, value in zip(alike.a, alike.b, alike.similarity, strict=True):
        found.append(_extreme(ordered[one], ordered[other], float(value), genuine=False))
    return tuple(found)


def _nearest_own(faces: Faces, row: int) -> int:
    """The row of the same person's picture that this one resembles most."""
    others = np.flatnonzero(faces.person == faces.person[row])
    others = others[others != row]
    return int(others[(faces.vectors[others] @ faces.vectors[row]).argmax()])


def _extreme(one: _Enrolled, other: _Enrolled, similarity: float, *, genuine: bool) -> Extreme:
    return Extreme(genuine, similarity, one.path, other.path, one.thumbnail, other.thumbnail)


def _nobody(found: _Set) -> Unusable:
    if not found.images:
        message = "There is no picture in a person's folder."
        if found.skipped:
            reason, count = Counter(one.reason for one in found.skipped).most_common(1)[0]
            message += f" {len(found.skipped):,} files were left out, {count:,} as: {REASONS[reason]}."
        return Unusable(
            "no_usable_photo",
            message,
            "Make one folder for each person, named as you like, with JPEG or PNG photos in it.",
        )
    reason, count = found.failures.most_common(1)[0]
    return Unusable(
        "no_usable_photo",
        f"None of {found.images:,} images can be used; {count:,} for the reason {reason.replace('_', ' ')}.",
        "Use photos with one clear face each.",
    )
