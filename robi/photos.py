"""Photos as programmers have them: paths and bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from core.domain.errors import BadInput
from core.domain.validation import label

Photo = str | os.PathLike[str] | bytes
"""A path, or what is in the file: JPEG, PNG, WebP or BMP."""


def listed(photos: Photo | Sequence[Photo]) -> list[Photo]:
    """One photo or several as a list."""
    return [photos] if isinstance(photos, str | bytes | os.PathLike) else list(photos)


def named(photos: Photo | Sequence[Photo], most_bytes: int) -> list[tuple[str, bytes]]:
    """Each photo's name, for the verdict on it, and its bytes. Raises as `read`."""
    return [
        (_name(photo, number), read(photo, most_bytes, number))
        for number, photo in enumerate(listed(photos), 1)
    ]


def read(photo: Photo, most_bytes: int, number: int = 1) -> bytes:
    """The bytes of a photo. Of a larger file one byte more than allowed, upon which it is refused.

    Raises:
        BadInput: `bad_parameter`, there is no such file or it cannot be read; the cause says which.
    """
    if isinstance(photo, bytes):
        return photo
    try:
        with Path(photo).open("rb") as file:
            return file.read(most_bytes + 1)
    except OSError as problem:
        raise BadInput(
            "bad_parameter",
            f"Photo {number} cannot be read: {problem.strerror or 'input/output error'}.",
            "Give the path of an image file that you may read.",
        ) from problem


def _name(photo: Photo, number: int) -> str:
    return label("" if isinstance(photo, bytes) else Path(photo).name, f"photo {number}")
