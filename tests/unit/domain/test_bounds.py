"""Bounds say the same of a number whoever asks: Python, pydantic, or a reader of the message."""

from __future__ import annotations

import math
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from core.domain import bounds
from core.domain.bounds import Bounds
from core.domain.errors import BadInput

ALL = [value for value in vars(bounds).values() if isinstance(value, Bounds)]


@given(st.sampled_from(ALL), st.floats() | st.integers(-2, 2_000_000))
def test_pydantic_and_python_agree(allowed: Bounds, value: float) -> None:
    try:
        TypeAdapter(Annotated[float, allowed]).validate_python(value)
    except ValidationError:
        assert value not in allowed
    else:
        assert value in allowed


@pytest.mark.parametrize("allowed", ALL, ids=str)
def test_ends_and_what_is_no_number(allowed: Bounds) -> None:
    assert (allowed.low in allowed, allowed.high in allowed) == (allowed.with_low, allowed.with_high)
    assert math.nan not in allowed
    with pytest.raises(BadInput) as refused:
        allowed.check(math.nan, "top_k", "Try 5.")
    assert refused.value.message == f"top_k must be {allowed}."


def test_what_is_said() -> None:
    assert str(bounds.THRESHOLD) == "between 0 and 1"
    assert str(bounds.MARGIN) == "from 0 to below 1"
    assert str(bounds.NPROBE) == "between 1 and 1,000,000"
