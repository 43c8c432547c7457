"""Finds the faces of an image, also those that fill it and those that are lost in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.domain.faces import Image
from core.faces.landmarks import Detect, Found, overlaps, refine

DETECTION_SIZE = (640, 480)
"""Width and height that an image is fitted into; turned for an upright image."""
CLOSE_UP_SIZE = (160, 160)
"""A face that fills the image is too large for the detector, so an image without any is tried smaller."""
LARGER_SIZES = (2, 4)
"""Times `DETECTION_SIZE`, in which a picture that has so many pixels is looked through as well: a face of 60
pixels among twelve million shrinks to nothing in the first look."""
MOST_ENLARGED = 0.75
"""Scale up to which a picture is looked through in a larger size; above it the look before saw as much."""
SAME_FACE = 0.4
"""Intersection over union from which two looks have found one face."""
MOST_OBLONG = 40
"""Ratio of the sides up to which an image is looked at: a longer one shrinks to nothing in the detector."""


def find_faces(
    detect: Detect, image: Image, max_faces: int, *, look_again: bool = False
) -> tuple[Found, int]:
    """The faces of a BGR image, largest box first, and how many smaller ones there are beyond `max_faces`.

    With `look_again` small faces get better landmarks from a second, enlarged look.
    """
    height, width = image.shape[:2]
    if max(height, width) > MOST_OBLONG * min(height, width):
        return (np.empty((0, 5), np.float32), np.empty((0, 5, 2), np.float32)), 0
    size = DETECTION_SIZE if width >= height else DETECTION_SIZE[::-1]
    scale = min(size[0] / width, size[1] / height)
    boxes, landmarks = detect(image, size)
    for times in LARGER_SIZES:
        if scale * times > MOST_ENLARGED:
            break
        boxes, landmarks = _together((boxes, landmarks), detect(image, (size[0] * times, size[1] * times)))
    if not len(boxes):
        size = CLOSE_UP_SIZE
        scale = min(size[0] / width, size[1] / height)
        boxes, landmarks = detect(image, size)
    found = len(boxes)
    order = np.argsort(-_areas(boxes), kind="stable")[:max_faces]
    boxes, landmarks = boxes[order], landmarks[order]
    if look_again:
        landmarks = refine(detect, image, boxes, landmarks, scale)
    return (boxes, landmarks), found - len(boxes)


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), np.float32)


def _together(one: Found, other: Found) -> Found:
    """What two looks found, each face once: as the look saw it that was surer of it."""
    boxes, landmarks = np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])
    kept: list[int] = []
    for number in np.argsort(-boxes[:, 4], kind="stable").tolist():
        if not kept or float(overlaps(boxes[number, :4], boxes[kept, :4]).max()) < SAME_FACE:
            kept.append(number)
    return boxes[kept], landmarks[kept]
