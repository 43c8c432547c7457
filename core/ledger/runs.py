"""Kept comparisons: each a summary for the list and a document, neither of which the ledger reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Delete, Update, delete, insert, select, update

from core.domain.errors import NotFound
from core.ledger.database import Database
from core.ledger.models import inserted_id, runs

MOST_RUNS = 200  # kept; the oldest go


@dataclass(frozen=True, slots=True)
class KeptRun:
    """`content` is the summary in a listing, and the whole document of a single run."""

    id: int
    at: datetime
    name: str
    content: Mapping[str, Any]


class Runs:
    """Every method is one transaction, and raises Unavailable: disk_full, ledger_unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, at: datetime, name: str, summary: Mapping[str, object], document: Mapping[str, object]
    ) -> int:
        """Keep a comparison, and give its number; the oldest go when there are too many."""
        row = {"at": at, "name": name, "summary": dict(summary), "document": dict(document)}
        with self._database.write() as connection:
            number = inserted_id(connection.execute(insert(runs), row))
            kept = select(runs.c.id).order_by(runs.c.id.desc()).limit(MOST_RUNS)
            connection.execute(delete(runs).where(runs.c.id.not_in(kept)))
            return number

    def all(self) -> tuple[KeptRun, ...]:
        """Newest first, with their summaries."""
        newest = select(runs.c.id, runs.c.at, runs.c.name, runs.c.summary).order_by(runs.c.id.desc())
        with self._database.read() as connection:
            return tuple(KeptRun(*row) for row in connection.execute(newest))

    def one(self, run_id: int) -> KeptRun:
        """With its document. Raises NotFound: `unknown_run`."""
        this = select(runs.c.id, runs.c.at, runs.c.name, runs.c.document).where(runs.c.id == run_id)
        with self._database.read() as connection:
            row = connection.execute(this).one_or_none()
        if row is None:
            raise _unknown()
        return KeptRun(*row)

    def rename(self, run_id: int, name: str) -> None:
        """Raises NotFound: `unknown_run`."""
        self._change(update(runs).where(runs.c.id == run_id).values(name=name))

    def remove(self, run_id: int) -> None:
        """Raises NotFound: `unknown_run`."""
        self._change(delete(runs).where(runs.c.id == run_id))

    def _change(self, statement: Update | Delete) -> None:
        with self._database.write() as connection:
            if not connection.execute(statement).rowcount:
                raise _unknown()


def _unknown() -> NotFound:
    return NotFound("unknown_run", "There is no such run.", "Load the page again: it may have been deleted.")
