"""A connection that does not wait for ever: a server that hangs is still answered for by its machine."""

from __future__ import annotations

from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen

PATIENCE_S = 10.0  # for an answer; more than a writer waits for another one's transaction
_LOOK_S = 0.1  # how soon Ctrl-C is noticed
_Answer = TypeVar("_Answer")


class Session(psycopg.Connection[Any]):
    """Closed by an answer that takes longer than `patience_s`: what comes later is of no use."""

    patience_s: float = PATIENCE_S

    def wait(self, gen: PQGen[_Answer], interval: float = _LOOK_S, timeout: float | None = None) -> _Answer:
        if timeout is not None:  # whoever listens for news
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.patience_s)
        except errors._WaitTimeout as problem:
            self.pgconn.finish()
            raise psycopg.OperationalError("the server does not answer") from problem
