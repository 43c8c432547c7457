"""What people type and programs send, checked once at the door."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import NoReturn, cast

from core.domain import names
from core.domain.bounds import THRESHOLD, TOP_K
from core.domain.errors import BadInput, TooLarge
from core.domain.json_values import Json
from core.domain.search import Strategy

MAX_PHOTOS = 20  # per enrollment
MAX_NAME = 120  # characters
MAX_QUERY = 200  # characters of a search for people
USER_ID_RULE = "1 to 64 letters, digits or . _ @ -"
MAX_METADATA_BYTES = 16_384
MAX_METADATA_DEPTH = 8  # the object itself is the first level
MAX_METADATA_KEY = 128  # characters
MAX_METADATA_INTEGER = 2**53 - 1  # what a double holds exactly, and so every reader of JSON
_SERVABLE_DEPTH = 100
_USER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def checked_user_id(user_id: str) -> str:
    """Raises BadInput: invalid_user_id."""
    if not _USER_ID.fullmatch(user_id):
        raise BadInput(
            "invalid_user_id",
            f"The ID must be {USER_ID_RULE} and begin with a letter or digit.",
            "Choose an ID such as ana-ruiz.",
        )
    return user_id


def checked_strategy(strategy: Strategy | str) -> Strategy:
    """Raises BadInput: bad_strategy."""
    try:
        return Strategy(strategy)
    except ValueError:
        known = ", ".join(one.value for one in Strategy)
        raise BadInput("bad_strategy", "There is no such strategy.", f"Use one of: {known}.") from None


def checked_threshold(threshold: float) -> float:
    """Raises BadInput: bad_parameter."""
    THRESHOLD.check(threshold, "threshold", "Leave it out for the default.")
    return threshold


def checked_top_k(top_k: int) -> int:
    """Raises BadInput: bad_parameter."""
    TOP_K.check(top_k, "top_k", "Try top_k=5.")
    return top_k


def checked_name(name: str) -> str:
    """The name, trimmed and in one Unicode form. Raises BadInput: invalid_name."""
    clean = unicodedata.normalize("NFC", " ".join(name.split()))
    if not clean:
        raise BadInput("invalid_name", "The name is empty.", "Enter the person's name.")
    if len(clean) > MAX_NAME:
        raise BadInput("invalid_name", f"The name is longer than {MAX_NAME} characters.", "Shorten it.")
    wrong = names.foreign(clean)
    if wrong:
        raise BadInput("invalid_name", wrong, "Type the name again: letters, digits, spaces, emoji.")
    if not any(unicodedata.category(c)[0] in "LN" for c in clean):
        raise BadInput("invalid_name", "The name has no letter.", "Enter the person's name.")
    return clean


def label(text: str, otherwise: str) -> str:
    """The name of a file or the like as it may be answered, logged and shown: one line that can be seen."""
    seen = "".join(c for c in " ".join(text.split()) if unicodedata.category(c)[0] != "C")
    return seen[:MAX_NAME] or otherwise


def read_metadata(text: str) -> Mapping[str, Json]:
    """Metadata sent as text, checked. Raises as `checked_metadata` does."""
    try:
        metadata: object = json.loads(text)
    except (ValueError, RecursionError):
        _refuse_metadata()
    return checked_metadata(metadata)


def checked_metadata(metadata: object) -> Mapping[str, Json]:
    """Metadata that can be stored and sent back by whatever speaks JSON: a small object of clean values.

    Databases cannot hold a NUL in JSON, encoders stop at some depth, and most readers lose what an integer
    has beyond 53 bits.

    Raises:
        BadInput: invalid_metadata. TooLarge: metadata_too_large.
    """
    if not isinstance(metadata, Mapping):
        _refuse_metadata()
    _check_values(metadata)
    size = len(json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False).encode())
    if size > MAX_METADATA_BYTES:
        _refuse_size()
    return cast("Mapping[str, Json]", metadata)  # all of it was checked


def _check_values(metadata: Mapping[object, object]) -> None:
    """Level by level, so that no depth can exhaust the stack."""
    level: list[object] = [dict(metadata)]
    for _ in range(MAX_METADATA_DEPTH):
        inner: list[object] = []
        for value in level:
            inner += _parts(value)
        if len(inner) > MAX_METADATA_BYTES:  # each takes a byte at least
            _refuse_size()
        level = inner
    if level:
        _refuse_metadata(f"The metadata are nested deeper than {MAX_METADATA_DEPTH} levels.")


def _parts(value: object) -> Iterable[object]:
    """What is in a value, which is checked itself."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                _refuse_metadata("The metadata have a key that is no text.")
            _check_text(key, MAX_METADATA_KEY)
        return value.values()
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, str):
        _check_text(value, MAX_METADATA_BYTES)
    elif isinstance(value, int | float):
        _check_number(value)
    elif value is not None:
        _refuse_metadata("The metadata have a value that JSON does not know.")
    return ()


def _check_number(value: float) -> None:
    if not math.isfinite(value) if isinstance(value, float) else abs(value) > MAX_METADATA_INTEGER:
        _refuse_metadata("The metadata have a number that JSON cannot carry.", "Send it as text.")


def _check_text(text: str, longest: int) -> None:
    if len(text) > longest:
        if longest == MAX_METADATA_BYTES:
            _refuse_size()
        _refuse_metadata(f"The metadata have a key of more than {longest} characters.")
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text):
        _refuse_metadata("The metadata have a character that cannot be stored.")


def servable(metadata: object) -> Mapping[str, Json] | None:
    """Metadata that were stored when less was checked, as they can be sent; None when they cannot.

    Answers of JSON are written by code that stops at some depth: whoever is nested deeper must not take a
    whole list of people with them.
    """
    if not isinstance(metadata, Mapping):
        return None
    level: list[object] = [metadata]
    for _ in range(_SERVABLE_DEPTH):
        level = [part for value in level for part in _inside(value)]
    return None if level else metadata


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse_size() -> NoReturn:
    raise TooLarge(
        "metadata_too_large",
        f"The metadata are larger than {MAX_METADATA_BYTES // 1024} KB.",
        "Keep a reference in them, and the rest in a system of your own.",
    ) from None


def _refuse_metadata(
    message: str = "The metadata are not a JSON object.",
    hint: str = 'Send an object such as {"team": "night"}.',
) -> NoReturn:
    raise BadInput("invalid_metadata", message, hint) from None
