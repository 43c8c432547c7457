"""What befalls a ledger's file: another process that holds it, and a disk that is full."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from core.ledger.ledger import Ledger

PLENTY = 1_000_000  # pages


def limit_pages(ledger: Ledger, pages: int) -> None:
    """The file may not grow past this: SQLite then fails exactly as it does on a full disk."""
    with ledger.database.write() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")


def hurry(ledger: Ledger) -> None:
    """Whoever writes waits for another process's transaction for milliseconds, instead of seconds."""
    with ledger.database.write() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=10")


@contextmanager
def locked(ledger: Ledger, path: Path) -> Iterator[None]:
    """Another process is in the middle of a transaction: nothing can be written, and reading goes on."""
    hurry(ledger)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """What is asked of people and changes fails, as in a file that another program has spoiled."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("ALTER TABLE people RENAME TO people_away")
        other.execute("ALTER TABLE changes RENAME TO changes_away")
        try:
            yield
        finally:
            other.execute("ALTER TABLE changes_away RENAME TO changes")
            other.execute("ALTER TABLE people_away RENAME TO people")
