"""Finds the faces of an image, embeds them and judges how good they are."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.config.settings import Settings
from core.domain.faces import Analysis, Box, Face, Image, Purpose, Reason
from core.faces.alignment import align, within
from core.faces.detection import find_faces
from core.faces.models import CUDA, FaceModels, open_models
from core.faces.pack import OPEN_PACK
from core.faces.pose import head_angles
from core.faces.quality import Limits, assess, limits_for, measure

log = logging.getLogger(__name__)


class _Look(NamedTuple):
    """What was found in an image that was turned anticlockwise by so many quarters."""

    image: Image
    turns: int
    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    crops: list[Image]
    vectors: NDArray[np.float32]  # before normalisation
    left_out: int  # smaller faces, beyond as many as were asked for
    detect_ms: float
    embed_ms: float

    def found(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], Image, NDArray[np.float32]]]:
        """Box, landmarks, crop and vector of each face."""
        return zip(self.boxes, self.landmarks, self.crops, self.vectors, strict=True)

    def sureness(self, limits: Limits) -> float:
        """How certain it is that the largest face is one, and upright. The detector finds faces that lie on
        their side, too; their embeddings are short: 3 to 7 where upright ones were 11 and more."""
        if not len(self.boxes):
            return 0.0
        return float(np.linalg.norm(self.vectors[0]) if limits.norm[1] else self.boxes[0, 4])

    def is_sure(self, limits: Limits) -> bool:
        return bool(len(self.boxes)) and self.sureness(limits) >= limits.norm[1]


def _spent_together(best: _Look, first: _Look, others: Sequence[_Look]) -> _Look:
    """The best look, with the time that all of them took."""
    looks = (first, *others)
    return best._replace(
        detect_ms=sum(look.detect_ms for look in looks), embed_ms=sum(look.embed_ms for look in looks)
    )


class FaceEngine:
    """Faces of an image. Safe to use from several threads at once; each call runs in its caller's thread."""

    def __init__(self, models: FaceModels, degraded: str | None = None) -> None:
        self._models = models
        self.pack = models.pack
        self.provider = models.provider
        self.degraded = degraded

    @classmethod
    def open(cls, settings: Settings) -> FaceEngine:
        """Load the pack that the settings name and prove by a run that it works, and where.

        Raises:
            StartError: `pack_missing` or `pack_damaged`.
        """
        models = open_models(settings)
        pack, provider = models.pack, models.provider
        log.info("Face pack %s runs on %s. Licence: %s", pack.id, provider, pack.licence)
        return cls(models, _degradation(settings, provider))

    def analyze(
        self,
        image: Image,
        *,
        purpose: Purpose = Purpose.VERIFY,
        max_faces: int = 32,
        least_eye_distance: float | None = None,
        turn: bool = True,
    ) -> Analysis:
        """All faces of a BGR image, largest first, at most `max_faces` of them.

        With `turn` it is looked at from its other sides where no face, or none worth the name, is found.
        `least_eye_distance`, in pixels, is what verifying asks of a face, where it is not the usual.
        """
        limits = limits_for(self.pack.id, purpose, least_eye_distance)
        height, width = image.shape[:2]
        look = self._look(image, max_faces)
        if turn and not look.is_sure(limits):
            others = [self._look(np.rot90(image, turns), max_faces, turns) for turns in (1, 3, 2)]
            look = _spent_together(max([look, *others], key=lambda one: one.sureness(limits)), look, others)
        faces = tuple(_face(look.image, *found, limits) for found in look.found())
        return Analysis(
            tuple(_turned_back(face, look.turns, width, height) for face in faces) if look.turns else faces,
            width,
            height,
            look.detect_ms,
            look.embed_ms,
            look.turns,
            None if faces else float(image[::4, ::4].mean()) / 255,
            look.left_out,
        )

    def close(self) -> None:
        """Let go of the models. The engine must not be used afterwards."""
        self._models.close()

    def _look(self, image: Image, max_faces: int, turns: int = 0) -> _Look:
        """Find and embed the faces of an image that was turned anticlockwise by so many quarters."""
        started = time.perf_counter()
        (boxes, landmarks), left_out = find_faces(
            self._models.detect, image, max_faces, look_again=self.pack.id == OPEN_PACK
        )
        detected = time.perf_counter()
        crops = align(image, landmarks)
        vectors = self._models.embed(crops)
        embedded = time.perf_counter()
        detect_ms, embed_ms = 1e3 * (detected - started), 1e3 * (embedded - detected)
        return _Look(image, turns, boxes, landmarks, crops, vectors, left_out, detect_ms, embed_ms)


def _turned_back(face: Face, turns: int, width: int, height: int) -> Face:
    """The face where it is in the picture as it came, which was turned anticlockwise to find it."""
    box = face.box
    corners = _points_back(np.array([[box.x1, box.y1], [box.x2, box.y2]], np.float32), turns, width, height)
    (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    warnings = (*face.quality.warnings, Reason.ON_ITS_SIDE)
    return replace(
        face,
        box=Box(x1, y1, x2, y2),
        landmarks=_points_back(face.landmarks, turns, width, height),
        quality=replace(face.quality, warnings=warnings),
    )


def _points_back(points: NDArray[np.float32], turns: int, width: int, height: int) -> NDArray[np.float32]:
    x, y = points[:, 0], points[:, 1]
    back = {1: (width - y, x), 2: (width - x, height - y), 3: (y, height - x)}[turns]
    return np.stack(back, axis=1).astype(np.float32, copy=False)


def _face(
    image: Image,
    row: NDArray[np.float32],
    landmarks: NDArray[np.float32],
    crop: Image,
    vector: NDArray[np.float32],
    limits: Limits,
) -> Face:
    height, width = image.shape[:2]
    box = Box(*(float(value) for value in row[:4]))
    head = head_angles(landmarks)
    norm = float(np.linalg.norm(vector))
    measures = measure(
        crop,
        partial(within, landmarks, width, height),
        box=box,
        width=width,
        height=height,
        head=head,
        detection=float(row[4]),
        norm=norm,
    )
    return Face(
        box=box,
        landmarks=landmarks.astype(np.float32, copy=False),
        detection_score=float(row[4]),
        embedding=(vector / np.float32(norm or 1.0)).astype(np.float32, copy=False),
        quality=assess(measures, limits),
        yaw=head.yaw,
        pitch=head.pitch,
        roll=head.roll,
    )


def _degradation(settings: Settings, provider: str) -> str | None:
    if settings.use_gpu == "true" and provider != CUDA:
        return "Faces run on the CPU although USE_GPU=true: no working CUDA device was found."
    return None
