"""Pairs of people who look alike and are two all the same, with the margin a match between them needs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from core.domain.errors import BadInput
from core.domain.people import Pair
from core.ledger import people as persons
from core.ledger.models import pairs, people

_LOW, _HIGH = people.alias("low_one"), people.alias("high_one")
_LISTING = (
    select(
        pairs.c.low,
        pairs.c.high,
        _LOW.c.user_id,
        _HIGH.c.user_id,
        _LOW.c.name,
        _HIGH.c.name,
        pairs.c.margin,
        pairs.c.at,
    )
    .join(_LOW, _LOW.c.id == pairs.c.low)
    .join(_HIGH, _HIGH.c.id == pairs.c.high)
    .order_by(pairs.c.at.desc(), pairs.c.low)
)


def put(connection: Connection, one: str, other: str, margin: float, at: datetime) -> None:
    """Remember a pair, or its new margin.

    Raises:
        NotFound: `unknown_person`. BadInput: `bad_parameter` for a pair of one.
    """
    both = _ends(connection, one, other)
    _remove(connection, both)
    connection.execute(insert(pairs), {"low": both[0], "high": both[1], "margin": margin, "at": at})


def remove(connection: Connection, one: str, other: str) -> None:
    """Nothing happens when they are no pair. Raises as `put` does."""
    _remove(connection, _ends(connection, one, other))


def listing(connection: Connection) -> tuple[Pair, ...]:
    """Newest first."""
    return tuple(_pair(row) for row in connection.execute(_LISTING))


def _ends(connection: Connection, one: str, other: str) -> tuple[int, int]:
    numbers = sorted(persons.must_find(connection, user_id).number for user_id in (one, other))
    if numbers[0] == numbers[1]:
        raise BadInput("bad_parameter", "A pair needs two different people.", "Choose two people.")
    return numbers[0], numbers[1]


def _remove(connection: Connection, both: tuple[int, int]) -> None:
    connection.execute(delete(pairs).where((pairs.c.low == both[0]) & (pairs.c.high == both[1])))


def _pair(row: Any) -> Pair:
    low, high, low_id, high_id, low_name, high_name, margin, at = row
    return Pair((low, high), (low_id, high_id), (low_name, high_name), margin, at)
