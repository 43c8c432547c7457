"""What befalls a ledger's database: somebody holds it, tables are gone, the disk is full."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr
from sqlalchemy import make_url

from core.ledger.ledger import Ledger
from core.ledger.opening import Place
from core.ledger.postgres import WRITERS

PLENTY = 1_000_000  # pages


def limit_pages(ledger: Ledger, pages: int) -> None:
    """The file may not grow past this: SQLite then fails exactly as it does on a full disk."""
    with ledger.database.write() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")


def hurry(ledger: Ledger) -> None:
    """Whoever writes waits for another process's transaction for milliseconds, instead of seconds."""
    with ledger.database.write() as connection:
        postgres = connection.dialect.name == "postgresql"  # whose connection is the next writer's, too
        connection.exec_driver_sql("SET lock_timeout = 10" if postgres else "PRAGMA busy_timeout=10")


@contextmanager
def locked(ledger: Ledger, place: Place) -> Iterator[None]:
    """Another process is in the middle of a transaction: nothing can be written, and reading goes on."""
    hurry(ledger)
    with closing(connected(place)) as other:
        other.execute("BEGIN IMMEDIATE" if isinstance(place, Path) else f"SELECT pg_advisory_lock({WRITERS})")
        yield


@contextmanager
def unreadable(place: Place) -> Iterator[None]:
    """What is asked of people and changes fails, as in a database that another program has spoiled."""
    with closing(connected(place)) as other:
        other.execute("ALTER TABLE people RENAME TO people_away")
        other.execute("ALTER TABLE changes RENAME TO changes_away")
        try:
            yield
        finally:
            other.execute("ALTER TABLE changes_away RENAME TO changes")
            other.execute("ALTER TABLE people_away RENAME TO people")


def connected(place: Place) -> sqlite3.Connection | psycopg.Connection[Any]:
    """Another program's connection, on which each statement is a transaction."""
    if isinstance(place, Path):
        return sqlite3.connect(place, isolation_level=None)
    url = make_url(place.get_secret_value())
    return psycopg.connect(
        host=url.host,
        port=url.port or 5432,
        user=url.username,
        password=url.password,
        dbname=url.database,
        autocommit=True,
    )


def end_connections(place: SecretStr) -> None:
    with closing(connected(place)) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid != pg_backend_pid()"
        )
        while admin.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()"
            " AND backend_type = 'client backend' AND application_name = 'robi' AND query NOT LIKE 'LISTEN%%'"
        ).fetchone():
            time.sleep(0.01)
