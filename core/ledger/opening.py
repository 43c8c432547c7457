"""Which database holds the ledger."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from core.ledger.database import Database

Place = Path | SecretStr
"""Where a ledger is: an SQLite file, or the URL of a PostgreSQL database, which may hold a password."""


def open_database(place: Place) -> Database:
    """Open the file, which is made if need be, or connect to the server.

    Raises:
        OSError: the file cannot be made.
        Unavailable: the database cannot be used.
        StartError: `ledger_unfit`, for a server that can never be used.
    """
    if isinstance(place, Path):
        from core.ledger.sqlite import SqliteDatabase

        return SqliteDatabase(place)
    from core.ledger.postgres import PostgresDatabase  # with its driver, which SQLite does without

    return PostgresDatabase(place.get_secret_value())
