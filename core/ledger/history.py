"""What was measured, kept for weeks: the older, the coarser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from core.domain.json_values import Json
from core.ledger.database import Database
from core.ledger.models import history

MINUTE, HOUR = 60, 3600
KEPT: Mapping[int, int] = {
    MINUTE: 12 * 60,  # half a day
    10 * MINUTE: 2 * 24 * 6,  # two days
    HOUR: 8 * 24,
    4 * HOUR: 35 * 6,  # five weeks
}
"""How many rows of each length are kept: rows, not days, so that a clock that jumps ahead ages nothing."""

Merge = Callable[[Json, Json], Json]
"""Two measured values, as JSON, to the one of both."""

_AT = (history.c.seconds == bindparam("length"), history.c.start == bindparam("began"))
_FIND = select(history.c.measured).where(*_AT)
_ADD = insert(history).values(
    seconds=bindparam("length"), start=bindparam("began"), measured=bindparam("value")
)
_SET = update(history).where(*_AT).values(measured=bindparam("value"))
_BETWEEN = (
    select(history.c.start, history.c.measured)
    .where(
        history.c.seconds == bindparam("length"),
        history.c.start >= bindparam("since"),
        history.c.start <= bindparam("until"),
    )
    .order_by(history.c.start)
)


class History:
    """Rows that begin at a multiple of their length, in seconds since 1970; what they hold is JSON."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, minutes: Mapping[int, Json], merge: Merge, now: int) -> None:
        """Keep what was measured in some minutes, by their start, also in the longer rows that they are in.

        A row that is there already, as after a restart or when the clock was set back, is merged with and
        never overwritten. One transaction.

        Raises:
            Unavailable: disk_full, ledger_unavailable; nothing was kept.
        """
        with self._database.write() as connection:
            for start, measured in minutes.items():
                for length in KEPT:
                    _merged_in(connection, length, start - start % length, measured, merge)
            for length, kept in KEPT.items():
                _prune(connection, length, kept, now)

    def read(self, length: int, since: int, until: int) -> Sequence[tuple[int, Any]]:
        """Rows of a length that began in this time, oldest first, as (start, measured).

        Raises:
            Unavailable: ledger_unavailable.
        """
        with self._database.read() as connection:
            rows = connection.execute(_BETWEEN, {"length": length, "since": since, "until": until})
            return [(row.start, row.measured) for row in rows]


def _merged_in(connection: Connection, length: int, start: int, measured: Json, merge: Merge) -> None:
    at = {"length": length, "began": start}
    found = connection.execute(_FIND, at).first()
    if found is None:
        connection.execute(_ADD, {**at, "value": measured})
    else:
        connection.execute(_SET, {**at, "value": merge(found.measured, measured)})


def _prune(connection: Connection, length: int, kept: int, now: int) -> None:
    """Past and future are counted apart: rows of a clock that was ahead must not crowd out the others."""
    for side in (history.c.start <= now, history.c.start > now):
        rows = (history.c.seconds == length, side)
        last = select(history.c.start).where(*rows).order_by(history.c.start.desc()).limit(1).offset(kept - 1)
        connection.execute(delete(history).where(*rows, history.c.start < last.scalar_subquery()))
