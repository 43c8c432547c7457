"""What JSON knows, and frozen values made of it: the last step before anything is sent or kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import TypeAlias

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]

_PLAIN = frozenset((type(None), bool, int, float, str))


def json_ready(value: object) -> Json:
    """Dataclasses by their fields, mappings by the text of their keys, moments as ISO 8601.

    Raises TypeError for what is none of these and no plain value.
    """
    if type(value) in _PLAIN or isinstance(value, str | int | float):  # the former is quicker
        return value  # type: ignore[return-value]
    if isinstance(value, list | tuple):
        return [json_ready(one) for one in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return json_object(value)


def json_object(value: object) -> JsonObject:
    """As `json_ready`, of a dataclass or a mapping."""
    if isinstance(value, Mapping):
        return {str(name): json_ready(one) for name, one in value.items()}
    if is_dataclass(value):
        return {field.name: json_ready(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"JSON knows no {type(value).__name__}")
