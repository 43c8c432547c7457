"""A whole ledger as one file: copied consistently while others write, and examined without being opened."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from core.domain.errors import Unavailable
from core.ledger.database import BUSY_TIMEOUT_MS
from core.ledger.sqlite import translated

_PAGES = 4096  # copied at a time
_NO_LOG, _MODE_AT = b"\1\1", 18  # in a file's head: that it wants no log beside it


@dataclass(frozen=True, slots=True)
class LedgerContents:
    """What a copy holds, all as of one moment."""

    schema: str  # the newest migration that it has seen
    gallery_id: str | None  # None in a ledger of the first version
    pack_id: str
    pack_digest: str
    dimension: int
    seq: int
    people: int
    templates: int
    events: int


@contextmanager
def copied(
    path: Path, between: Callable[[], None] = lambda: None
) -> Iterator[tuple[LedgerContents, BinaryIO]]:
    """What is in the ledger at `path`, and a copy as of the same moment, to be read from its beginning.

    Nobody who writes waits for it. The copy has no name: it lies beside the ledger, and is gone when it is
    closed, however this process ends. `between` is called every few megabytes, and ends it by raising.

    Raises:
        Unavailable: `disk_full`; `ledger_unavailable`, also when the ledger is damaged.
    """
    with _anonymous(path.parent) as (copy, file):
        with translated(), _opened(path) as source:
            source.execute("BEGIN")  # what is counted and what is copied are one moment
            contents = _contents(source)
            copy.execute("PRAGMA journal_mode=OFF")
            copy.execute("PRAGMA synchronous=OFF")  # it is thrown away if this machine stops
            source.backup(copy, pages=_PAGES, progress=lambda *_: between())  # BEGIN keeps it one moment
        yield contents, file


def examined(fill: Callable[[BinaryIO], None]) -> LedgerContents:
    """What is in a copy that `fill` writes into the file it is given, which has no name and is gone after.

    Raises:
        Unavailable: `disk_full`; `ledger_unavailable` when it is damaged, or no ledger.
    """
    with _anonymous(Path(tempfile.gettempdir())) as (copy, file):
        fill(file)
        file.flush()
        os.pwrite(file.fileno(), _NO_LOG, _MODE_AT)  # there can be no log beside a file without a name
        with translated():
            copy.execute("PRAGMA query_only=ON")
            return _contents(copy)


def contents_of(path: Path) -> LedgerContents:
    """What is in a copy that lies at `path`, whom nobody has opened.

    Raises:
        Unavailable: `ledger_unavailable` when it is damaged, or no ledger.
    """
    uri = f"file:{quote(str(path.absolute()))}?immutable=1"
    with translated(), closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        return _contents(connection)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        yield connection


@contextmanager
def _anonymous(folder: Path) -> Iterator[tuple[sqlite3.Connection, BinaryIO]]:
    """An empty database, and its file, whose name is taken away before there is anything in it."""
    descriptor, name = tempfile.mkstemp(prefix="ledger-copy-", dir=folder)
    with os.fdopen(descriptor, "r+b") as file:
        try:
            connection = sqlite3.connect(name, isolation_level=None)  # opens the file at once
        finally:
            Path(name).unlink()
        with closing(connection):
            yield connection, file


def _contents(connection: sqlite3.Connection) -> LedgerContents:
    said = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if said != "ok":
        raise Unavailable("ledger_unavailable", "The ledger is damaged.", "Put a backup in its place.")
    gallery = connection.execute("SELECT * FROM gallery")
    names = [column[0] for column in gallery.description]
    row = gallery.fetchone()
    if row is None:
        raise Unavailable(
            "ledger_unavailable", "There is no gallery in the ledger.", "Start Robi on it once."
        )
    bound = dict(zip(names, row, strict=True))
    return LedgerContents(
        schema=str(_one(connection, "SELECT version_num FROM alembic_version")),
        gallery_id=bound.get("gallery_id"),
        pack_id=str(bound["pack_id"]),
        pack_digest=str(bound["digest"]),
        dimension=int(bound["dimension"]),
        seq=int(str(_one(connection, "SELECT COALESCE(MAX(seq), 0) FROM changes"))),
        people=int(str(_one(connection, "SELECT COUNT(*) FROM people"))),
        templates=int(str(_one(connection, "SELECT COUNT(*) FROM templates"))),
        events=int(str(_one(connection, "SELECT COUNT(*) FROM events"))),
    )


def _one(connection: sqlite3.Connection, question: str) -> object:
    return connection.execute(question).fetchone()[0]
