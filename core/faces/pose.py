"""How a head is turned, from the five landmarks of a face."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from core.domain.faces import Face

# Of people who look into the camera the middle 90 % lie between 0.50 and 0.64 in pitch; a turn that shows
# must lie outside, and below the yaw at which quality rejects a face for enrolling.
TURN_FROM = 0.13
UP_BELOW = 0.46
DOWN_ABOVE = 0.68


class Pose(StrEnum):
    """Where the person looks. LEFT and RIGHT are the person's own, in an image that is not mirrored."""

    FRONT = "front"
    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class HeadAngles:
    """`yaw`, `pitch`, `roll` as in `core.domain.faces.Face`; `eye_distance` in pixels."""

    yaw: float
    pitch: float
    roll: float
    eye_distance: float


def head_angles(landmarks: NDArray[np.float32]) -> HeadAngles:
    """Measure the head of landmarks (5, 2): left and right eye (in the image), nose, mouth corners.

    A profile may put both eyes, or eyes and mouth, in one place: no division by zero comes of it.
    """
    left, right, nose, mouth_left, mouth_right = landmarks.astype(np.float64)
    eyes, mouth, axis = (left + right) / 2, (mouth_left + mouth_right) / 2, right - left
    distance = max(math.hypot(*axis), 1e-6)
    along = axis / distance
    down = np.array([-along[1], along[0]])
    face_height = float((mouth - eyes) @ down)
    return HeadAngles(
        yaw=float((nose - eyes) @ along) / distance,
        pitch=float((nose - eyes) @ down) / max(face_height, 1e-6),
        roll=math.degrees(math.atan2(axis[1], axis[0])),
        eye_distance=distance,
    )


def pose_of(face: Face) -> Pose:
    """A turn to the side counts before one up or down."""
    if abs(face.yaw) >= TURN_FROM:
        # The nose moves towards the image's right, where an unmirrored image has the person's left.
        return Pose.LEFT if face.yaw > 0 else Pose.RIGHT
    if face.pitch < UP_BELOW:
        return Pose.UP
    return Pose.DOWN if face.pitch > DOWN_ABOVE else Pose.FRONT
