"""Request fields that several calls share, and how metadata are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn

from fastapi import File, Form, UploadFile

from core.errors import BadInput, TooLarge
from core.types import Strategy

_MAX_METADATA = 16_384  # bytes

Image = Annotated[UploadFile, File(description="JPEG, PNG, WebP or BMP.")]
StrategyField = Annotated[Strategy | None, Form(description="Left out: the one in the settings.")]
TopK = Annotated[int, Form(description="Most candidates to return, 1 to 100.")]
Threshold = Annotated[
    float | None, Form(description="Similarity a match needs, 0 to 1. Left out: the one in the settings.")
]


def read_metadata(text: str | None) -> Mapping[str, Any] | None:
    """
    Raises:
        BadInput: `invalid_metadata`. TooLarge: `metadata_too_large`.
    """
    if text is None:
        return None
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        _refuse_metadata()
    return checked_metadata(metadata)


def checked_metadata(metadata: Any) -> Mapping[str, Any]:
    """Metadata that can be stored and sent back: a JSON object of finite numbers and clean text.

    Raises:
        BadInput: `invalid_metadata`. TooLarge: `metadata_too_large`.
    """
    if not isinstance(metadata, dict):
        _refuse_metadata()
    try:
        size = len(json.dumps(metadata, allow_nan=False, ensure_ascii=False).encode())
    except (ValueError, RecursionError):  # among them NaN, and half a surrogate pair
        _refuse_metadata()
    if size > _MAX_METADATA:
        raise TooLarge(
            "metadata_too_large",
            f"The metadata are larger than {_MAX_METADATA // 1024} KB.",
            "Keep a reference in them, and the rest in a system of your own.",
        )
    return metadata


def _refuse_metadata() -> NoReturn:
    raise BadInput(
        "invalid_metadata", "The metadata are not a JSON object.", 'Send an object such as {"team": "night"}.'
    ) from None
