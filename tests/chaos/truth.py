"""What the ledger's file holds, read past Robi, and so past the faults that it suffers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

PERSON = "SELECT p.name, t.id FROM people p JOIN templates t ON t.person_id = p.id WHERE p.user_id = ?"
TUNINGS = 'SELECT id, "values" FROM tunings ORDER BY id'
PAIRS = (
    "SELECT a.user_id, b.user_id, margin FROM pairs"
    " JOIN people a ON a.id = pairs.low JOIN people b ON b.id = pairs.high"
)


@dataclass(frozen=True, slots=True)
class Known:
    """A person as last acknowledged, or as found."""

    name: str
    ids: frozenset[int]


class Truth:
    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger

    def person(self, user_id: str) -> Known | None:
        rows = self._rows(PERSON, user_id)
        return Known(rows[0][0], frozenset(number for _, number in rows)) if rows else None

    def tunings(self) -> list[tuple[int, Mapping[str, Any]]]:
        """The id of each step and what differs from the settings after it, oldest first."""
        return [(number, json.loads(values)) for number, values in self._rows(TUNINGS)]

    def margins(self) -> dict[frozenset[str], float]:
        """Of the pairs of look-alikes."""
        return {frozenset((one, other)): margin for one, other, margin in self._rows(PAIRS)}

    def _rows(self, statement: str, *values: object) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self._ledger}?mode=ro", uri=True)) as connection:
            return connection.execute(statement, values).fetchall()


def happened(what: str, before: Known | None, found: Known | None, templates: int, name: str) -> bool:
    """Whether one person is as after the change."""
    if what == "erase":
        return found is None
    if found is None:
        return False
    if what == "rename":
        return before is not None and found == replace(before, name=name)
    new = found.ids - (before.ids if before else frozenset())
    return len(new) == templates and found.name == (before.name if before else name)


def merged(before: tuple[Known, Known], found: tuple[Known | None, Known | None]) -> bool:
    """Whether all of the first person is under the second one now, as templates that nobody had."""
    (other, kept), (gone, one) = before, found
    if gone is not None or one is None or one.name != kept.name or not kept.ids <= one.ids:
        return False
    new = one.ids - kept.ids
    return len(new) == len(other.ids) and not new & other.ids
