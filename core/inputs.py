"""What people type and programs send, checked once at the door."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, NoReturn

from core.errors import BadInput, TooLarge
from core.types import Strategy

MAX_PHOTOS = 20  # per enrollment
MAX_TOP_K = 100
MAX_METADATA_BYTES = 16_384
_USER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_NAME_LENGTH = 120


def checked_user_id(user_id: str) -> str:
    """Raises BadInput: invalid_user_id."""
    if not _USER_ID.fullmatch(user_id):
        raise BadInput(
            "invalid_user_id",
            "The ID must be 1 to 64 letters, digits or . _ @ - and begin with a letter or digit.",
            "Choose an ID such as ana-ruiz.",
        )
    return user_id


def checked_strategy(strategy: Strategy | str) -> Strategy:
    """Raises BadInput: bad_strategy."""
    try:
        return Strategy(strategy)
    except ValueError:
        names = ", ".join(known.value for known in Strategy)
        raise BadInput("bad_strategy", "There is no such strategy.", f"Use one of: {names}.") from None


def user_id_from(name: str) -> str:
    """The letters and digits of a name as an ID: "Ana Ruiz" gives `ana-ruiz`, a name without any `person`."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")[:56] or "person"


def checked_name(name: str) -> str:
    """The name, trimmed and in one Unicode form. Raises BadInput: invalid_name."""
    clean = unicodedata.normalize("NFC", " ".join(name.split()))
    if not clean:
        raise BadInput("invalid_name", "The name is empty.", "Enter the person's name.")
    if len(clean) > _NAME_LENGTH:
        raise BadInput("invalid_name", f"The name is longer than {_NAME_LENGTH} characters.", "Shorten it.")
    if any(map(_foreign_to_names, clean)):
        raise BadInput(
            "invalid_name",
            "The name has a character that no name has.",
            "Use letters, digits and spaces only.",
        )
    if not any(unicodedata.category(c)[0] in "LN" for c in clean):
        raise BadInput("invalid_name", "The name has no letter.", "Enter the person's name.")
    return clean


def read_metadata(text: str) -> Mapping[str, Any]:
    """Metadata sent as text, checked. Raises as `checked_metadata` does."""
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        _refuse_metadata()
    return checked_metadata(metadata)


def checked_metadata(metadata: object) -> Mapping[str, Any]:
    """Metadata that can be stored and sent back: a small JSON object of finite numbers and clean text.

    Raises:
        BadInput: invalid_metadata. TooLarge: metadata_too_large.
    """
    if not isinstance(metadata, Mapping):
        _refuse_metadata()
    try:
        size = len(json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError):  # among them NaN, and half a surrogate pair
        _refuse_metadata()
    if size > MAX_METADATA_BYTES:
        raise TooLarge(
            "metadata_too_large",
            f"The metadata are larger than {MAX_METADATA_BYTES // 1024} KB.",
            "Keep a reference in them, and the rest in a system of your own.",
        )
    return metadata


def _refuse_metadata() -> NoReturn:
    raise BadInput(
        "invalid_metadata", "The metadata are not a JSON object.", 'Send an object such as {"team": "night"}.'
    ) from None


def _foreign_to_names(character: str) -> bool:
    """Letters, marks, numbers, punctuation and the space belong: no emoji, no control characters.

    The joiners are letters' glue in Persian and Indic names. Enclosing marks and the two presentation
    selectors make an emoji of a digit; the Hangul fillers are letters that nobody sees.
    """
    if character in " \u200c\u200d":
        return False
    category = unicodedata.category(character)
    return (
        category[0] not in "LMNP" or category == "Me" or character in "\ufe0e\ufe0f\u115f\u1160\u3164\uffa0"
    )
