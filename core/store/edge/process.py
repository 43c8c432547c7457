"""The Edge child process seen from the parent: start, one request with a deadline, kill."""

from __future__ import annotations

import logging
import os
import pickle
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import psutil

from core.store.edge.wire import HITS, OTHER, SEARCH, Wire, read_hits, search_body, told
from core.types import Hit

logger = logging.getLogger("robi.store.edge")

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 30.0  # for the interpreter and its imports, which take 0.3 s


class ChildGone(Exception):
    """The child died, or did not answer within the deadline and was killed."""


class EngineError(Exception):
    """The engine refused a request; the child lives. The text is for the log only."""


class EdgeProcess:
    """One child. Not thread-safe: its engine serialises requests."""

    def __init__(self, directory: Path, dimension: int, *, nice: int = 0) -> None:
        ours, theirs = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(  # noqa: S603  our own module, by our own interpreter
            [
                sys.executable,
                "-P",  # the working directory is not ours and must not shadow modules
                "-m",
                "core.store.edge.child",
                *map(str, (theirs.fileno(), directory, dimension, nice)),
            ],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
        )
        theirs.close()
        self._wire: Wire | None = Wire(ours)
        assert self._process.stderr is not None  # noqa: S101  asked for above
        self._reader = threading.Thread(
            target=_log_lines, args=(self._process.stderr,), name="edge-stderr", daemon=True
        )
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

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
        if self._wire is None:
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

    def kill(self) -> None:
        """End the child now; may be called twice."""
        self._process.kill()
        self._process.wait()
        self._release()

    def close(self, deadline: float) -> None:
        """Let the child flush and end; kill it when it does not."""
        try:
            self.request(("close",), deadline)
            self._process.wait(deadline)
        except (ChildGone, EngineError, subprocess.TimeoutExpired):
            self.kill()
        self._release()

    def _send(self, kind: bytes, body: bytes, deadline: float) -> None:
        wire = self._open_wire()
        try:
            wire.limit(socket.SO_SNDTIMEO, deadline)
            wire.send(kind, body)
        except OSError as problem:
            self.kill()
            raise ChildGone(_reason(problem, deadline)) from None

    def _answer(self, deadline: float) -> tuple[bytes, bytearray]:
        wire = self._open_wire()
        try:
            wire.limit(socket.SO_RCVTIMEO, deadline)
            return wire.receive()
        except (OSError, EOFError) as problem:
            self.kill()
            raise ChildGone(_reason(problem, deadline)) from None

    def _open_wire(self) -> Wire:
        if self._wire is None:
            raise ChildGone("it was killed")
        return self._wire

    def _release(self) -> None:
        self._reader.join(1.0)
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        if self._process.stderr is not None:
            self._process.stderr.close()


def _reason(problem: Exception, deadline: float) -> str:
    hung = isinstance(problem, BlockingIOError)
    return f"no answer within {deadline:g} s" if hung else "it ended"


def _log_lines(stream: IO[bytes]) -> None:
    for line in stream:
        text = line.decode(errors="replace").rstrip()
        if text:
            logger.warning("edge engine: %s", text)
