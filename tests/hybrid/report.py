"""Promises that are kept or broken, the sections they belong to, and how both are shown."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

NAMED = 5  # offenders that a broken promise lists

Row = Sequence[str]


@dataclass(frozen=True, slots=True)
class Promise:
    """One thing the product promises, in words; `found` says what was seen instead."""

    words: str
    kept: bool
    found: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the suite: the promises it tested, the figures it measured, and their table."""

    title: str
    promises: tuple[Promise, ...]
    figures: Mapping[str, Any]
    table: tuple[Row, ...] = ()  # the first row is the head

    @property
    def broken(self) -> tuple[Promise, ...]:
        return tuple(promise for promise in self.promises if not promise.kept)


def none(words: str, offenders: Collection[str]) -> Promise:
    """Kept when nobody offends."""
    names = sorted(set(offenders))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return Promise(words, not names, ", ".join(names[:NAMED]) + more)


def same(words: str, expected: object, found: object) -> Promise:
    return Promise(words, expected == found, "" if expected == found else f"{found} instead of {expected}")


def at_least(words: str, limit: float, found: float) -> Promise:
    return Promise(words, found >= limit, "" if found >= limit else f"{found:.4f}, less than {limit:.4f}")


def show(section: Section) -> str:
    """A section as text: its table, then each promise."""
    lines = [f"\n{section.title}", "─" * len(section.title), *_aligned(section.table)]
    for promise in section.promises:
        mark = "kept  " if promise.kept else "BROKEN"
        lines.append(f"  {mark}  {promise.words}" + (f": {promise.found}" if promise.found else ""))
    return "\n".join(lines)


def as_data(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """JSON-ready, apart from moments."""
    return [
        {"title": s.title, "figures": s.figures, "promises": [asdict(promise) for promise in s.promises]}
        for s in sections
    ]


def _aligned(rows: Sequence[Row]) -> list[str]:
    """Numbers to the right, words to the left."""
    columns = [_column(column) for column in zip(*rows, strict=True)]
    return ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]


def _column(cells: Row) -> list[str]:
    width = max(map(len, cells))
    numbers = all(cell.replace(".", "").isdigit() for cell in cells[1:])
    return [cell.rjust(width) if numbers else cell.ljust(width) for cell in cells]


def progress(what: str, done: int, total: int) -> None:
    """Tenths on stderr: one line that grows on a terminal, nothing but the ends of it in a log."""
    tenth = 10 * done // total
    if tenth == 10 * (done - 1) // total:
        return
    if sys.stderr.isatty():
        bar = "█" * tenth + "░" * (10 - tenth)
        print(f"\r{what:12} {bar} {done}/{total}", end="\n" if done >= total else "", file=sys.stderr)
    elif tenth in (5, 10):
        print(f"{what} {done}/{total}", file=sys.stderr)
