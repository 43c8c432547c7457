"""A look at a ledger's file from outside: nothing is written, made, migrated or locked for long."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from core.domain.errors import Unavailable

QUICK_BYTES = 256 << 20  # of a file that is read through; a larger one would take too long


@dataclass(frozen=True, slots=True)
class LedgerLook:
    """What a ledger says of itself; the fields of a gallery are None before it is bound to a pack."""

    revision: str | None  # of its tables
    gallery_id: str | None
    pack_id: str | None
    pack_digest: str | None
    people: int
    templates: int
    damage: str | None  # what SQLite found wrong; also None for a file that was too large to read through


def look(path: Path) -> LedgerLook | None:
    """What is in the file; None when there is none. What was not merged after a crash counts, too.

    Raises:
        Unavailable: ledger_unavailable; it cannot be read.
    """
    try:
        return _read(path) if path.exists() else None
    except (sqlite3.Error, OSError) as problem:
        name = getattr(problem, "sqlite_errorname", None) or type(problem).__name__
        raise Unavailable(
            "ledger_unavailable", f"It cannot be read ({name}).", "Put a backup in its place."
        ) from problem


def _read(path: Path) -> LedgerLook:
    # A log beside it belongs to a process that runs or was killed. Without one, SQLite would make one.
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    uri = f"file:{quote(str(path.absolute()))}?{mode}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA query_only=ON")
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")}
        return LedgerLook(
            revision=_one(connection, tables, "alembic_version", "version_num"),
            gallery_id=_one(connection, tables, "gallery", "gallery_id"),
            pack_id=_one(connection, tables, "gallery", "pack_id"),
            pack_digest=_one(connection, tables, "gallery", "digest"),
            people=_count(connection, tables, "people"),
            templates=_count(connection, tables, "templates"),
            damage=_damage(connection) if path.stat().st_size <= QUICK_BYTES else None,
        )


def _one(connection: sqlite3.Connection, tables: set[str], table: str, column: str) -> str | None:
    if table not in tables:
        return None
    columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    if column not in columns:
        return None
    found = connection.execute(f"SELECT {column} FROM {table} LIMIT 1").fetchone()  # noqa: S608  our names
    return None if found is None else str(found[0])


def _count(connection: sqlite3.Connection, tables: set[str], table: str) -> int:
    if table not in tables:
        return 0
    return int(connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])  # noqa: S608  our names


def _damage(connection: sqlite3.Connection) -> str | None:
    said = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    return None if said == "ok" else said
