"""What is seen in pictures: faces, how good they are, and the models that see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""A picture, shape (height, width, 3), channels in BGR order as OpenCV has them."""

Embedding = NDArray[np.float32]
"""One face as a vector, shape (dimension,), float32, L2-normalised."""

Embeddings = NDArray[np.float32]
"""Several faces, shape (n, dimension), float32, each row L2-normalised."""


class Purpose(StrEnum):
    """What a photo is for: enrolling asks for more than verifying does."""

    ENROLL = "enroll"
    VERIFY = "verify"


class Reason(StrEnum):
    """Why a photo is poor or unusable. The sentence for each is in `core.faces.quality`."""

    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"
    FACE_TOO_SMALL = "face_too_small"
    BLURRED = "blurred"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    TURNED_AWAY = "turned_away"
    TILTED = "tilted"
    CUT_OFF = "cut_off"
    LOW_QUALITY = "low_quality"
    DIFFERENT_PERSON = "different_person"  # does not show the person whom the other photos show
    SAME_PERSON_TWICE = "same_person_twice"  # another face of the picture is more like the same person
    FITS_TWO_PEOPLE = "fits_two_people"  # two enrolled people resemble it about equally
    ON_ITS_SIDE = "on_its_side"  # the picture had to be turned before anybody was found
    DAMAGED = "damaged"  # part of the face is missing in the file
    ALREADY_THERE = "already_there"  # the very photo is enrolled, or was sent twice
    ANIMATION = "animation"  # of which the first picture was looked at
    SMALLER_FACES = "smaller_faces"  # were left out


@dataclass(frozen=True, slots=True)
class PackInfo:
    """The face models in use. A gallery is bound to `id`, `digest` and `dimension`."""

    id: str
    digest: str
    dimension: int
    licence: str


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the image it was found in; may reach past the border."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def width(self) -> float:
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        return max(self.width, 0.0) * max(self.height, 0.0)


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a face is for recognition.

    `score` is 0..1 (1 is best). Any entry in `rejects` makes the face unusable for the purpose it
    was judged for; `warnings` do not. `measures` holds the numbers behind both.
    """

    score: float
    rejects: tuple[Reason, ...] = ()
    warnings: tuple[Reason, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)
    least_eye_distance: float = 0.0  # in pixels: what the purpose asks of `measures["eye_distance"]`

    @property
    def usable(self) -> bool:
        return not self.rejects


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face found in an image."""

    box: Box
    landmarks: NDArray[np.float32]  # (5, 2): left eye, right eye, nose, mouth corners, in pixels
    detection_score: float
    embedding: Embedding = field(repr=False)  # nobody prints or logs one by mistake
    quality: Quality
    yaw: float  # nose offset from the eyes' middle, in inter-eye distances; > 0: towards image right
    pitch: float  # nose position between eyes (0) and mouth (1)
    roll: float  # degrees, > 0: clockwise


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """All faces of one image, largest first, and what finding them cost.

    Boxes and landmarks are in the image as it came, also where it had to be turned to find anybody.
    """

    faces: tuple[Face, ...]
    width: int
    height: int
    detect_ms: float
    embed_ms: float
    quarter_turns: int = 0  # anticlockwise, until the faces are upright
    luminance: float | None = None  # mean of the whole image, 0..1, where there is no face
    faces_left_out: int = 0  # smaller ones, beyond as many as are looked at


@dataclass(frozen=True, slots=True, eq=False)
class PhotoVerdict:
    """Whether one photo can be enrolled: `face` is set exactly if there are no `rejects`."""

    photo: str  # the caller's name for the photo
    face: Face | None
    rejects: tuple[Reason, ...]
    warnings: tuple[Reason, ...]
    thumbnail: bytes | None = None  # JPEG of the face, for the screen; stored only if images are kept
