"""What the vector tiers follow, and the join that makes their answers true."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from core.domain.people import GalleryCounts
from core.domain.templates import Change, HotSet, StoredTemplate, TemplateBlock
from core.ledger.commits import CommitWatch
from core.ledger.counts import Counter
from core.ledger.database import Database
from core.ledger.sql import changes, templates


class Feed:
    """The ledger as `core.store.contract.ChangeFeed`. Thread-safe, and as fresh as the database itself.

    Every search joins its hits with the ledger by `resolve`. What was read for it stays true until somebody
    commits, so up to `remembered` templates are remembered until then: asking whether anybody has is twenty
    times as fast as reading the rows, and other threads get as many chances to take the interpreter away as
    there are rows.
    """

    def __init__(self, database: Database, gallery_id: str, counter: Counter, remembered: int) -> None:
        self.gallery_id = gallery_id
        """A UUID that no other gallery has; it stays when an empty gallery is bound to another pack."""
        self._database = database
        self._counter = counter
        self._most = remembered
        self._lock = threading.Lock()
        self._commits = CommitWatch(database)
        self._version: Hashable = None
        self._known: dict[int, StoredTemplate] = {}

    def head(self) -> int:
        """The greatest committed seq; 0 when there is none."""
        with self._database.read() as connection:
            return changes.head(connection)

    def when_others_commit(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, from another thread, soon after anybody's changes; a mere hint."""
        self._database.when_others_commit(tell)

    def changes(self, after: int, limit: int) -> Sequence[Change]:
        """Up to `limit` changes with a seq above `after`, ascending."""
        with self._database.read() as connection:
            return changes.after(connection, after, limit)

    def resolve(self, template_ids: Collection[int]) -> Mapping[int, StoredTemplate]:
        """The templates that (still) exist, with whose they are; erased ones are simply absent."""
        with self._lock:
            known = self._fresh()
            found = {i: known[i] for i in template_ids if i in known}
        if len(found) == len(template_ids):
            return found
        missing = [i for i in template_ids if i not in found]
        with self._database.read() as connection:
            read = templates.by_id(connection, missing)
        with self._lock:
            if known is self._known and len(known) + len(read) <= self._most:
                known.update(read)
        return found | read

    def hot_set(
        self, limit: int, *, spare: int = 0, progress: Callable[[float], None] = lambda _share: None
    ) -> HotSet:
        """Whole people, most recently matched or enrolled first, at most `limit` templates, as of one seq.

        `spare` more rows are left free at the end of the arrays. Raises MemoryError.
        """
        with self._database.snapshot() as connection:
            return templates.hot_set(connection, limit, spare, progress)

    def blocks(self, rows: int = 8192) -> Iterator[TemplateBlock]:
        """All templates by ascending id, so many at a time; each block as of the moment it is read."""
        after = 0
        while True:
            with self._database.read() as connection:
                block = templates.block(connection, after, rows)
            if not len(block.ids):
                return
            yield block
            after = int(block.ids[-1])

    def templates_of(self, persons: Collection[int]) -> Sequence[StoredTemplate]:
        """All templates of these people, given by the ledger's own numbers."""
        with self._database.read() as connection:
            return templates.by_person(connection, persons)

    def template_ids(self) -> tuple[int, NDArray[np.int64]]:
        """The head and all living template ids, in any order, as of one moment."""
        with self._database.snapshot() as connection:
            ids = templates.all_ids(connection)
            return changes.head(connection), ids

    def counts(self) -> GalleryCounts:
        """How many people and templates there are; counted again only when the seq has moved."""
        with self._database.snapshot() as connection:
            return self._counter.counts(connection)

    def close(self) -> None:
        """Call before the database is closed."""
        with self._lock:
            self._commits.close()
            self._known = {}

    def _fresh(self) -> dict[int, StoredTemplate]:
        """What is still true. After a commit it is a new dictionary: a late reader adds to the old one."""
        version = self._commits.version()
        if version != self._version or len(self._known) >= self._most:
            self._known = {}
            self._version = version
        return self._known
