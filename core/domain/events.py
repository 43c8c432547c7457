"""What happened and is kept on record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event about to be kept. `detail` is JSON-ready, without names and biometric data."""

    at: datetime
    kind: str
    user_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `name` is the person's present one; None when they are erased.

    `user_id` and `name_then` are what they had when it happened, `user_id_now` is under what they are found.
    """

    id: int
    at: datetime
    kind: str
    user_id: str | None
    name: str | None
    detail: Mapping[str, Any]
    name_then: str | None = None
    user_id_now: str | None = None
