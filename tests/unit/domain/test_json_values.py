"""Frozen values as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from core.domain.json_values import json_object, json_ready
from core.domain.search import Strategy


@dataclass(frozen=True, slots=True)
class Point:
    at: datetime
    of: tuple[int, ...]
    named: dict[Strategy, float | None]


def test_values_become_what_json_knows_by_their_names():
    point = Point(
        datetime(2026, 1, 2, tzinfo=UTC), (1, 2), {Strategy.HYBRID: 0.5, Strategy.FAISS_FIRST: None}
    )
    told = {"at": "2026-01-02T00:00:00+00:00", "of": [1, 2], "named": {"hybrid": 0.5, "faiss_first": None}}
    assert json_object(point) == told
    assert json.loads(json.dumps(json_ready([point, True, "a", 1.5]))) == [told, True, "a", 1.5]


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", Point])
def test_what_json_does_not_know_is_refused_and_not_written_as_something_else(value: object):
    with pytest.raises(TypeError):
        json_ready({"value": value})
