from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from core.domain.faces import Image
from core.faces.engine import FaceEngine
from core.faces.pose import Pose, head_angles, pose_of

FRONT = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.57, 0.45], [-0.4, 1, 0.1], [0.4, 1, 0.1]])
"""Eyes, nose and mouth corners of a head in space, in eye distances: x right, y down, z to the camera."""


def seen(yaw: float = 0, pitch: float = 0, roll: float = 0) -> np.ndarray:
    """Landmarks of that head turned by degrees; yaw > 0 towards the image's right, pitch > 0 down."""
    y, p, r = np.radians([yaw, pitch, roll])
    turn_yaw = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    turn_pitch = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    turn_roll = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    points = FRONT @ (turn_roll @ turn_pitch @ turn_yaw).T
    return (points[:, :2] * 60 + 200).astype(np.float32)


@pytest.fixture(scope="module")
def face(engine: FaceEngine, astronaut: Image):
    return engine.analyze(astronaut).faces[0]


@pytest.mark.parametrize(
    ("turned", "pose"),
    [
        ({}, Pose.FRONT),
        ({"yaw": 25}, Pose.LEFT),
        ({"yaw": -25}, Pose.RIGHT),
        ({"pitch": -25}, Pose.UP),
        ({"pitch": 25}, Pose.DOWN),
        ({"roll": 20}, Pose.FRONT),
        ({"yaw": 25, "roll": -20}, Pose.LEFT),
    ],
    ids=str,
)
def test_pose_of_a_turned_head(face, turned: dict[str, float], pose: Pose) -> None:
    head = head_angles(seen(**turned))
    assert pose_of(replace(face, yaw=head.yaw, pitch=head.pitch)) is pose


def test_angles_of_a_front_view() -> None:
    head = head_angles(seen())
    assert head.yaw == pytest.approx(0, abs=1e-4)
    assert head.pitch == pytest.approx(0.57, abs=1e-4)
    assert head.roll == pytest.approx(0, abs=1e-3)
    assert head.eye_distance == pytest.approx(60, abs=1e-3)


def test_roll_is_clockwise_and_leaves_the_rest_alone() -> None:
    head = head_angles(seen(yaw=15, roll=20))
    assert head.roll == pytest.approx(20, abs=0.1)
    assert head.yaw == pytest.approx(head_angles(seen(yaw=15)).yaw, abs=1e-3)


def test_landmarks_in_one_point_do_not_divide_by_zero() -> None:
    head = head_angles(np.zeros((5, 2), np.float32))
    assert np.isfinite([head.yaw, head.pitch, head.roll, head.eye_distance]).all()


def test_mirroring_swaps_left_and_right(engine: FaceEngine, group: Image) -> None:
    def standing(image: Image) -> Pose:
        return pose_of(min(engine.analyze(image).faces, key=lambda face: face.box.y1))

    # He looks over his right shoulder, to the left of the picture.
    assert standing(group) is Pose.RIGHT
    assert standing(cv2.flip(group, 1).astype(np.uint8)) is Pose.LEFT
