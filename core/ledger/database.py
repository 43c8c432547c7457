"""What the ledger asks of a database, whichever it is: transactions, and whether anybody has committed."""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Connection

from core.domain.errors import BadInput, Unavailable

logger = logging.getLogger(__name__)

BUSY_TIMEOUT_MS = 5_000  # how long one process waits for another one's transaction


class Database(ABC):
    """Thread-safe. Transactions that write come one after the other, over all threads and processes, so the
    order of the change feed is the order of commits. What fails raises `Unavailable`, or `BadInput` for a
    value that the database cannot hold.
    """

    refused: Unavailable | None = None
    """Why the last transaction that writes failed."""

    @abstractmethod
    def write(self, *, long: bool = False) -> AbstractContextManager[Connection]:
        """A transaction: all of it is committed and durable on leaving, or nothing of it happened.

        A `long` one may take minutes, as when tables are changed.
        """

    @abstractmethod
    def read(self) -> AbstractContextManager[Connection]:
        """A connection of one's own for single statements; no transaction, so no cost beyond the query."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Connection]:
        """Like `read`; all statements inside see the same moment."""

    @abstractmethod
    def connect(self) -> Connection:
        """A reading connection that the caller keeps, and closes before this is closed."""

    @abstractmethod
    def version(self, connection: Connection) -> Hashable:
        """Another value than this connection was given before, when anybody has committed since."""

    @abstractmethod
    def when_others_commit(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, from another thread, soon after templates came or went.

        A hint, and none at all where the database knows no such thing: whoever waits for it looks from time
        to time, too.
        """

    @abstractmethod
    def scrub_soon(self) -> None:
        """Call inside `write` after erasing: old content leaves the files as soon as that can be."""

    @property
    @abstractmethod
    def scrubbed(self) -> bool:
        """Whether nothing that was erased is in the database's files any more, as far as is known."""

    @abstractmethod
    def set_aside_room(self) -> None:
        """Have some of the disk in reserve; does nothing when it is there, or when the disk is full."""

    @abstractmethod
    def use_reserve(self) -> bool:
        """Give the reserve to whoever must write on a full disk; False when there is none."""

    @abstractmethod
    def close(self) -> None:
        """May be called twice."""

    @contextmanager
    def _remembered(self) -> Iterator[None]:
        try:
            yield
        except Unavailable as problem:
            self.refused = problem
            raise
        self.refused = None


def shutting_down() -> Unavailable:
    return Unavailable("ledger_unavailable", "Robi is shutting down.", "Start Robi again.")


def cannot_hold() -> BadInput:
    return BadInput("bad_parameter", "There is a value that the ledger cannot hold.", "Send another value.")


def read_json(text: str | bytes) -> object:
    """What was stored, or None: one value that is nested too deep must not take a whole listing with it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        logger.warning("a value in the ledger cannot be read, and counts as none")
        return None
