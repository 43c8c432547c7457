"""Whether anybody has committed anything since one last asked."""

from __future__ import annotations

from collections.abc import Hashable

from sqlalchemy import Connection

from core.domain.errors import Unavailable
from core.ledger.database import Database, shutting_down


class CommitWatch:
    """For one thread at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None  # of its own: versions are a connection's own
        self._made = 0
        self._closed = False

    def version(self) -> Hashable:
        """Another value than before when somebody has committed since, or may have.

        Raises:
            Unavailable: as the database does.
        """
        if self._closed:  # before the database itself: a connection made now would stay open
            raise shutting_down()
        tried_before = self._connection is not None
        if self._connection is None:
            self._connection = self._database.connect()
            self._made += 1
        try:
            return self._made, self._database.version(self._connection)
        except Unavailable:
            self._drop()
            if not tried_before:
                raise
        return self.version()  # the server may have been started anew since

    def close(self) -> None:
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
