"""Hears from PostgreSQL that templates came or went, whoever committed it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

import psycopg

from core.domain.errors import Unavailable
from core.ledger.postgres_session import Session
from core.ledger.sql.driver import CHANNEL

_LOOK_S = 0.25  # how soon it notices that it is to end
_AGAIN_S = 1.0  # after the connection was lost; whoever waits looks about as often by itself


class Listener:
    """One thread with one connection of its own, from the first one to be told until the end."""

    def __init__(self, connect: Callable[[], Session]) -> None:
        self._connect = connect
        self._told: list[Callable[[], None]] = []
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def tell(self, listener: Callable[[], None]) -> None:
        with self._lock:
            self._told = [*self._told, listener]
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="ledger-listener", daemon=True)
                self._thread.start()

    def close(self) -> None:
        with self._lock:
            self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with closing(self._connect()) as connection:
                    self._listen(connection)
            except (Unavailable, psycopg.Error):
                self._closing.wait(_AGAIN_S)

    def _listen(self, connection: Session) -> None:
        connection.execute(f"LISTEN {CHANNEL}")
        self._wake()  # what was committed before one listened was told to nobody
        while not self._closing.is_set():
            for _ in connection.notifies(timeout=_LOOK_S, stop_after=1):
                self._wake()

    def _wake(self) -> None:
        for told in self._told:
            told()
