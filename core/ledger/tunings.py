"""The tuned settings: a history of steps, of which the last one holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import insert, select

from core.config.tuning import TuningStep, TuningValue
from core.domain.errors import BadInput
from core.domain.events import NewEvent
from core.domain.json_values import Json
from core.ledger.database import Database
from core.ledger.models import inserted_id, tunings
from core.ledger.sql import events

_NEWEST_FIRST = select(tunings).order_by(tunings.c.id.desc())


class Tunings:
    """Every method is one transaction, and raises Unavailable: disk_full, ledger_unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, values: Mapping[str, TuningValue], reason: str, detail: Mapping[str, Json]) -> TuningStep:
        """Keep what differs from the settings from now on; `detail` goes into the event."""
        at = datetime.now(UTC)
        row = {"at": at, "values": dict(values), "reason": reason}
        with self._database.write() as connection:
            number = inserted_id(connection.execute(insert(tunings), row))
            events.add(connection, [NewEvent(at, "tuned", detail={**detail, "reason": reason})])
            return TuningStep(number, at, dict(values), reason)

    def latest(self, limit: int = 50) -> tuple[TuningStep, ...]:
        """Newest first; the first one holds."""
        with self._database.read() as connection:
            return tuple(TuningStep(*row) for row in connection.execute(_NEWEST_FIRST.limit(limit)))

    def undoing(self, step_id: int) -> tuple[TuningStep, Mapping[str, TuningValue]]:
        """A step, and what differed from the settings before it.

        Raises:
            BadInput: `bad_parameter` when there is no such step.
        """
        two = _NEWEST_FIRST.where(tunings.c.id <= step_id).limit(2)
        with self._database.read() as connection:
            rows = connection.execute(two).all()
        if not rows or rows[0].id != step_id:
            raise BadInput("bad_parameter", "There is no such change.", "Load the page again.")
        step, *before = (TuningStep(*row) for row in rows)
        return step, before[0].values if before else {}
