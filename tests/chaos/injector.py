"""Failures at the edges of Robi: where it speaks to SQLite, to its Edge child, to a Qdrant server, to FAISS.

Nothing of Robi is replaced. A `Fault` counts the calls that pass an edge and says which of them fail; each of
the edges asks it, and then fails as the real part would.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest import mock

import faiss
import grpc
import numpy as np
import psutil

from tests.qdrant_double_faults import Faults

WAIT_SECONDS = 5.0  # for an answer that is then lost


class Fault:
    """Strikes at the Nth call, and with `lasting` at all that follow until it is over. Thread-safe."""

    def __init__(self, nth: int, *, lasting: bool = False) -> None:
        self.nth = nth
        self.lasting = lasting
        self.calls = 0
        self.struck: list[str] = []
        self._lock = threading.Lock()
        self._over = False

    @property
    def fired(self) -> bool:
        return bool(self.struck)

    def strikes(self, what: str) -> bool:
        with self._lock:
            if self._over:
                return False
            self.calls += 1
            hit = self.calls >= self.nth if self.lasting else self.calls == self.nth
            if hit:
                self.struck.append(what)
            return hit

    def begin(self) -> None:
        """Count from here."""
        with self._lock:
            self.calls, self._over = 0, False

    def end(self) -> None:
        with self._lock:
            self._over = True


# ------------------------------------------------------------ SQLite

SQLITE_ERRORS = {
    "disk I/O error": ("SQLITE_IOERR_WRITE", sqlite3.SQLITE_IOERR | (3 << 8)),
    "database or disk is full": ("SQLITE_FULL", sqlite3.SQLITE_FULL),
    "database is locked": ("SQLITE_BUSY", sqlite3.SQLITE_BUSY),
}


def sqlite_error(text: str) -> sqlite3.OperationalError:
    problem = sqlite3.OperationalError(text)
    problem.sqlite_errorname, problem.sqlite_errorcode = SQLITE_ERRORS[text]
    return problem


@contextmanager
def sqlite_faults(fault: Fault, how: str, *, writes: bool) -> Iterator[None]:
    """Statements of the writing connection fail, or of the reading ones.

    `how` is one of SQLITE_ERRORS; with "rolled back" SQLite has ended the transaction by itself; with
    "answer lost" the statement has taken effect, COMMIT included, and fails nevertheless.
    """

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, parameters: Any = (), /) -> Cursor:
            return self._run(sql, lambda: sqlite3.Cursor.execute(self, sql, parameters))

        def executemany(self, sql: str, parameters: Any, /) -> Cursor:
            return self._run(sql, lambda: sqlite3.Cursor.executemany(self, sql, parameters))

        def _run(self, sql: str, run: Callable[[], Any]) -> Cursor:
            connection: Any = self.connection
            connection.writes |= sql.startswith("BEGIN IMMEDIATE")
            if connection.writes != writes or not fault.strikes(" ".join(sql.split()[:3])):
                run()
                return self
            if how == "answer lost":
                run()
            elif how == "rolled back" and connection.in_transaction:
                sqlite3.Cursor.execute(self, "ROLLBACK")
            raise sqlite_error(how if how in SQLITE_ERRORS else "disk I/O error")

    class Connection(sqlite3.Connection):
        writes = False

        def cursor(self, *_: Any, **__: Any) -> Cursor:
            return super().cursor(Cursor)

    connect = sqlite3.dbapi2.connect

    def faulty(*arguments: Any, **values: Any) -> sqlite3.Connection:
        return connect(*arguments, **{**values, "factory": Connection})

    with mock.patch.object(sqlite3.dbapi2, "connect", faulty):
        yield


# ------------------------------------------------------------ the Edge child


@contextmanager
def child_faults(fault: Fault, how: str) -> Iterator[None]:
    """Messages to Edge children. `how`: "send fails", "answer lost" (it comes too late), "child dies"."""
    pair = socket.socketpair

    class Ours(socket.socket):
        theirs = -1  # the child's end, by which its process is known
        lost = False

        def sendall(self, data: Any, *flags: int) -> None:
            strikes = fault.strikes(f"message of {len(data)} bytes")
            if strikes and how == "send fails":
                raise BrokenPipeError("told to")
            super().sendall(data, *flags)
            self.lost = strikes and how == "answer lost"
            if strikes and how == "child dies":
                _kill_holder(self.theirs)

        def recv_into(self, *arguments: Any, **values: Any) -> int:
            if self.lost:
                self.lost = False
                select.select([self], [], [], WAIT_SECONDS)  # what was asked for has been done
                raise BlockingIOError("told to")
            return super().recv_into(*arguments, **values)

    def faulty() -> tuple[socket.socket, socket.socket]:
        one, other = pair()
        ours = Ours(fileno=one.detach())
        ours.theirs = other.fileno()
        return ours, other

    with mock.patch.object(socket, "socketpair", faulty):
        yield


def _kill_holder(descriptor: int) -> None:
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            line = child.cmdline()
            if "core.store.tiers.edge.child" in line and line[-4] == str(descriptor):
                os.kill(child.pid, signal.SIGKILL)


# ------------------------------------------------------------ a Qdrant server


class CallFaults(Faults):
    """What the double does to the Nth call. `how`: "unavailable", "deadline", "connection reset", each also
    with ", done": the call has taken effect and only its answer is lost."""

    def __init__(self, fault: Fault, how: str, reset: Callable[[], None]) -> None:
        super().__init__()
        self._fault = fault
        self._how = how.removesuffix(", done")
        self._done = how.endswith(", done")
        self._reset = reset
        self._struck = threading.local()

    def before(self, method: str, request: Any, context: grpc.ServicerContext) -> None:
        super().before(method, request, context)
        self._struck.now = self._fault.strikes(method)
        if self._struck.now and not self._done:
            self._fail(context)

    def after(self, method: str, context: grpc.ServicerContext) -> None:
        if self._struck.now and self._done:
            self._fail(context)

    def refuses_get(self) -> bool:
        return self._fault.strikes("GET")

    def _fail(self, context: grpc.ServicerContext) -> None:
        if self._how == "connection reset":
            self._reset()
        elif self._how == "deadline":
            end = time.monotonic() + WAIT_SECONDS
            while context.is_active() and time.monotonic() < end:
                time.sleep(0.01)
        context.abort(grpc.StatusCode.UNAVAILABLE, "told to")


# ------------------------------------------------------------ FAISS and numpy

ALLOCATING = (
    "core.store.tiers.faiss.vector_table",
    "core.store.tiers.faiss.id_array",
    "core.store.tiers.faiss.index_snapshot",
    "core.store.tiers.faiss.index_builder",
    "core.ledger.sql.templates",
)
FAISS_CALLS = ("index_factory", "clone_index", "knn_inner_product", "fvec_inner_products_by_idx")
INDEX_CALLS = ("train", "add", "search")


@contextmanager
def faiss_faults(fault: Fault, how: str) -> Iterator[None]:
    """`how`: "MemoryError", of FAISS and of the arrays that the hot tier makes; "RuntimeError", of FAISS."""
    problem: type[Exception] = MemoryError if how == "MemoryError" else RuntimeError

    def failing(name: str, call: Any) -> Any:
        def faulty(*arguments: Any, **values: Any) -> Any:
            if fault.strikes(name):
                raise problem("told to")
            return call(*arguments, **values)

        return faulty

    def allocating(name: str, call: Any) -> Any:
        def faulty(*arguments: Any, **values: Any) -> Any:
            caller = sys._getframe(1).f_globals.get("__name__")
            relevant = how == "MemoryError" and caller in ALLOCATING and np.prod(arguments[0])
            if relevant and fault.strikes(f"{name} in {caller}"):
                raise MemoryError("told to")
            return call(*arguments, **values)

        return faulty

    patches = [mock.patch.object(faiss, name, failing(name, getattr(faiss, name))) for name in FAISS_CALLS]
    patches += [
        mock.patch.object(kind, name, failing(f"{kind.__name__}.{name}", getattr(kind, name)))
        for kind in (faiss.IndexScalarQuantizer, faiss.IndexPQFastScan)
        for name in INDEX_CALLS
    ]
    patches += [
        mock.patch.object(np, name, allocating(name, getattr(np, name))) for name in ("empty", "zeros")
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in reversed(patches):
            patch.stop()
