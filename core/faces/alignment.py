"""Turns and scales a face to where the recogniser expects eyes, nose and mouth."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from core.domain.faces import Image


def align(image: Image, landmarks: NDArray[np.float32]) -> list[Image]:
    """Each face (n, 5, 2) as the recogniser sees it, 112×112; black where the picture ends."""
    from insightface.utils.face_align import norm_crop

    return [norm_crop(image, points) for points in landmarks]


def within(landmarks: NDArray[np.float32], width: int, height: int) -> NDArray[np.bool_]:
    """Which pixels of the aligned crop show a place within the picture."""
    from insightface.utils.face_align import estimate_norm

    back = cv2.invertAffineTransform(estimate_norm(landmarks))
    rows, columns = np.indices((112, 112))
    x, y = (a * columns + b * rows + c for a, b, c in back)
    return np.asarray((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))
