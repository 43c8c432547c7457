"""The join of every search with the ledger, remembered for as long as nobody has written anything."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection

from core.domain.errors import Unavailable
from core.domain.templates import StoredTemplate
from core.ledger import feed
from core.ledger.database import Database, shutting_down, translated

REMEMBERED_BYTES = 64 << 20  # of vectors; 130,000 templates of 128 numbers


class Join:
    """Thread-safe. As fresh as the database itself.

    What was read stays true until somebody commits, and SQLite tells a connection of commits by any other
    one, in this process or not, in a few microseconds: `PRAGMA data_version`
    (https://www.sqlite.org/pragma.html#pragma_data_version). Reading the rows takes twenty times as long, and
    gives other threads as many chances to take the interpreter away as there are rows.
    """

    def __init__(self, database: Database, dimension: int) -> None:
        self._database = database
        self._most = REMEMBERED_BYTES // (4 * dimension)
        self._lock = threading.Lock()
        self._watch: Connection | None = None  # of its own: versions are a connection's own
        self._closed = False
        self._version: int | None = None
        self._known: dict[int, StoredTemplate] = {}

    def resolve(self, template_ids: Collection[int]) -> Mapping[int, StoredTemplate]:
        """Those of the templates that exist now."""
        with self._lock:
            known = self._fresh()
            found = {i: known[i] for i in template_ids if i in known}
        if len(found) == len(template_ids):
            return found
        missing = [i for i in template_ids if i not in found]
        with self._database.read() as connection:
            read = feed.by_id(connection, missing)
        with self._lock:
            if known is self._known and len(known) + len(read) <= self._most:
                known.update(read)
        return found | read

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._watch is not None:
                self._watch.close()
                self._watch = None
            self._known = {}

    def _fresh(self) -> dict[int, StoredTemplate]:
        """What is still true. After a commit it is a new dictionary: a late reader adds to the old one."""
        version = self._read_version()
        if version != self._version or len(self._known) >= self._most:
            self._known = {}
            self._version = version
        return self._known

    def _read_version(self) -> int:
        if self._closed:  # before the database itself: a connection made now would stay open
            raise shutting_down()
        if self._watch is None:
            self._watch = self._database.connect()
        driver: Any = self._watch.connection.dbapi_connection
        try:
            with translated():
                return int(driver.execute("PRAGMA data_version").fetchone()[0])
        except Unavailable:
            self._watch.close()
            self._watch = None
            raise
