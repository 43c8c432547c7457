"""Whether anybody has committed anything since one last asked."""

from __future__ import annotations

import sqlite3
from typing import cast

from sqlalchemy import Connection

from core.domain.errors import Unavailable
from core.ledger.database import Database, shutting_down, translated


class CommitWatch:
    """For one thread at a time.

    SQLite tells a connection of commits by any other one, in this process or not, in a few microseconds:
    `PRAGMA data_version` (https://www.sqlite.org/pragma.html#pragma_data_version).
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None  # of its own: versions are a connection's own
        self._closed = False

    def version(self) -> int:
        """Another number than before when somebody has committed since.

        Raises:
            Unavailable: ledger_unavailable.
        """
        if self._closed:  # before the database itself: a connection made now would stay open
            raise shutting_down()
        if self._connection is None:
            self._connection = self._database.connect()
        driver = cast("sqlite3.Connection", self._connection.connection.dbapi_connection)
        try:
            with translated():
                return int(driver.execute("PRAGMA data_version").fetchone()[0])
        except Unavailable:
            self._connection.close()
            self._connection = None
            raise

    def close(self) -> None:
        self._closed = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None
