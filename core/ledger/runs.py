"""Kept comparisons: each a summary for the list and a document, neither of which the ledger reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from core.errors import NotFound
from core.ledger.models import inserted_id, runs

MOST_RUNS = 200  # kept; the oldest go


@dataclass(frozen=True, slots=True)
class KeptRun:
    """`content` is the summary in a listing, and the whole document of a single run."""

    id: int
    at: datetime
    name: str
    content: Mapping[str, Any]


def add(
    connection: Connection, at: datetime, name: str, summary: Mapping[str, Any], document: Mapping[str, Any]
) -> int:
    row = {"at": at, "name": name, "summary": dict(summary), "document": dict(document)}
    number = inserted_id(connection.execute(insert(runs), row))
    kept = select(runs.c.id).order_by(runs.c.id.desc()).limit(MOST_RUNS)
    connection.execute(delete(runs).where(runs.c.id.not_in(kept)))
    return number


def listing(connection: Connection) -> tuple[KeptRun, ...]:
    """Newest first, with their summaries."""
    columns = (runs.c.id, runs.c.at, runs.c.name, runs.c.summary)
    return tuple(KeptRun(*row) for row in connection.execute(select(*columns).order_by(runs.c.id.desc())))


def find(connection: Connection, run_id: int) -> KeptRun:
    """
    Raises:
        NotFound: `unknown_run`.
    """
    columns = (runs.c.id, runs.c.at, runs.c.name, runs.c.document)
    row = connection.execute(select(*columns).where(runs.c.id == run_id)).one_or_none()
    if row is None:
        raise _unknown()
    return KeptRun(*row)


def rename(connection: Connection, run_id: int, name: str) -> None:
    """
    Raises:
        NotFound: `unknown_run`.
    """
    if not connection.execute(update(runs).where(runs.c.id == run_id).values(name=name)).rowcount:
        raise _unknown()


def remove(connection: Connection, run_id: int) -> None:
    """
    Raises:
        NotFound: `unknown_run`.
    """
    if not connection.execute(delete(runs).where(runs.c.id == run_id)).rowcount:
        raise _unknown()


def _unknown() -> NotFound:
    return NotFound("unknown_run", "There is no such run.", "Load the page again: it may have been deleted.")
