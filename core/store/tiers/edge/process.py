"""The Edge child process seen from the parent: one request with a deadline, and an orderly end."""

from __future__ import annotations

import logging
import pickle
import select
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from core.domain.search import Hit
from core.runtime.child_process import ChildProcess
from core.store.tiers.edge.wire import HITS, OTHER, SEARCH, Wire, read_hits, search_body, told

logger = logging.getLogger("robi.store.edge")

CHILD = "core.store.tiers.edge.child"
START_SECONDS = 30.0  # for the interpreter and its imports, which take 0.3 s


class ChildGone(Exception):
    """The child died, or did not answer within the deadline and was killed."""


class EngineError(Exception):
    """The engine refused a request; the child lives. The text is for the log only."""


class EdgeProcess(ChildProcess):
    """One child. Not thread-safe: its engine serialises requests."""

    def __init__(self, directory: Path, dimension: int, *, nice: int = 0) -> None:
        """Raises OSError."""
        super().__init__(CHILD, directory, dimension, nice, log=logger, called="edge engine")
        self._wire = Wire(self._socket)

    def start(self) -> None:
        """Wait until it has imported what it needs: from here on it is about the directory.

        Raises:
            ChildGone: it ended, or took longer than START_SECONDS.
        """
        self._answer(START_SECONDS)

    def loaded(self, deadline: float) -> tuple[str, Any]:
        """How opening its directory went: "ready" and the seq; "locked", "unreadable" or "died" and why."""
        try:
            _, body = self._answer(deadline)
        except ChildGone as problem:
            return "died", str(problem)
        status, answer = told(body)
        return status, answer

    def request(self, message: tuple[Any, ...], deadline: float) -> Any:
        """Send one request and return its answer.

        Raises:
            ChildGone: no answer within `deadline` seconds; the child is dead by then.
            EngineError: the engine refused.
        """
        self.send(message, deadline)
        return self.result(deadline)

    def search(self, probes: bytes, limit: int, ef: int, deadline: float) -> list[list[Hit]]:
        """As `request`, for what has to be fast."""
        self._send(SEARCH, search_body(probes, limit, ef), deadline)
        kind, body = self._answer(deadline)
        if kind != HITS:
            raise EngineError(told(body)[1])
        return read_hits(body)

    def send(self, message: tuple[Any, ...], deadline: float) -> None:
        self._send(OTHER, pickle.dumps(message, pickle.HIGHEST_PROTOCOL), deadline)

    def result(self, deadline: float) -> Any:
        status, answer = told(self._answer(deadline)[1])
        if status != "ok":
            raise EngineError(answer)
        return answer

    def answers_within(self, seconds: float) -> bool:
        """Whether there is something to read, be it only that the child has ended."""
        if self._process.returncode is not None:
            return True
        poll = select.poll()
        poll.register(self._wire.socket, select.POLLIN)
        return bool(poll.poll(1e3 * seconds))

    def cpu_seconds(self) -> float:
        """What it has computed so far; 0 when it is gone."""
        try:
            times = psutil.Process(self.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def close(self, deadline: float) -> None:
        """Let the child flush and end; kill it when it does not."""
        with suppress(ChildGone, EngineError):
            self.request(("close",), deadline)
        self._end(deadline)

    def _send(self, kind: bytes, body: bytes, deadline: float) -> None:
        try:
            self._wire.limit(socket.SO_SNDTIMEO, deadline)
            self._wire.send(kind, body)
        except OSError as problem:
            raise self._gone(problem, deadline) from None

    def _answer(self, deadline: float) -> tuple[bytes, bytearray]:
        try:
            self._wire.limit(socket.SO_RCVTIMEO, deadline)
            return self._wire.receive()
        except (OSError, EOFError) as problem:
            raise self._gone(problem, deadline) from None

    def _gone(self, problem: Exception, deadline: float) -> ChildGone:
        hung = isinstance(problem, BlockingIOError)
        self.kill()
        return ChildGone(f"no answer within {deadline:g} s" if hung else "it ended")
