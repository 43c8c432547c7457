"""Pairs of people who look alike and are two all the same, with the margin a match between them needs."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, delete, insert, select

from core.domain.errors import BadInput
from core.domain.people import Pair
from core.ledger.database import Database
from core.ledger.models import pairs, people
from core.ledger.sql.people import must_find

_LOW, _HIGH = people.alias("low_one"), people.alias("high_one")
_ALL = (
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


class Pairs:
    """Every method is one transaction, and raises Unavailable: disk_full, ledger_unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, one: str, other: str, margin: float) -> tuple[Pair, ...]:
        """Remember a pair, or its new margin. Returns all pairs that there are then.

        Raises:
            NotFound: `unknown_person`. BadInput: `bad_parameter` for a pair of one.
        """
        with self._database.write() as connection:
            low, high = _numbers(connection, one, other)
            _remove(connection, low, high)
            row = {"low": low, "high": high, "margin": margin, "at": datetime.now(UTC)}
            connection.execute(insert(pairs), row)
            return _all(connection)

    def remove(self, one: str, other: str) -> tuple[Pair, ...]:
        """They are no such pair from now on. Returns and raises as `put` does."""
        with self._database.write() as connection:
            _remove(connection, *_numbers(connection, one, other))
            return _all(connection)

    def all(self) -> tuple[Pair, ...]:
        """Newest first."""
        with self._database.read() as connection:
            return _all(connection)


def _all(connection: Connection) -> tuple[Pair, ...]:
    return tuple(
        Pair((low, high), (low_id, high_id), (low_name, high_name), margin, at)
        for low, high, low_id, high_id, low_name, high_name, margin, at in connection.execute(_ALL)
    )


def _numbers(connection: Connection, one: str, other: str) -> tuple[int, int]:
    low, high = sorted(must_find(connection, user_id).number for user_id in (one, other))
    if low == high:
        raise BadInput("bad_parameter", "A pair needs two different people.", "Choose two people.")
    return low, high


def _remove(connection: Connection, low: int, high: int) -> None:
    connection.execute(delete(pairs).where((pairs.c.low == low) & (pairs.c.high == high)))
