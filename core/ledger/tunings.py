"""The tuned settings: a history of steps, of which the last one holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from core.errors import BadInput
from core.ledger.models import inserted_id, tunings
from core.tuning import TuningStep

_NEWEST_FIRST = select(tunings).order_by(tunings.c.id.desc())


def add(connection: Connection, at: datetime, values: Mapping[str, Any], reason: str) -> TuningStep:
    row = {"at": at, "values": dict(values), "reason": reason}
    number = inserted_id(connection.execute(insert(tunings), row))
    return TuningStep(number, at, dict(values), reason)


def listing(connection: Connection, limit: int) -> tuple[TuningStep, ...]:
    """Newest first."""
    return tuple(_step(row) for row in connection.execute(_NEWEST_FIRST.limit(limit)))


def values_before(connection: Connection, step_id: int) -> Mapping[str, Any]:
    """What was tuned before a step.

    Raises:
        BadInput: `bad_parameter` when there is no such step.
    """
    rows = connection.execute(_NEWEST_FIRST.where(tunings.c.id <= step_id).limit(2)).all()
    if not rows or rows[0].id != step_id:
        raise BadInput("bad_parameter", "There is no such change.", "Load the page again.")
    values: Mapping[str, Any] = rows[1].values if len(rows) > 1 else {}
    return values


def _step(row: Any) -> TuningStep:
    return TuningStep(row.id, row.at, row.values, row.reason)
