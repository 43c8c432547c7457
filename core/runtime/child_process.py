"""A child process of Robi's own, seen from the parent: its start, requests with deadlines, its end."""

from __future__ import annotations

import logging
import os
import pickle
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from core.runtime.wire import MESSAGE, Wire, told

ROOT = Path(__file__).resolve().parents[2]


class ChildGone(Exception):
    """The child ended, or was `silent` for longer than its deadline and was killed."""

    def __init__(self, *, silent: bool, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} s" if silent else "it ended")
        self.silent = silent


class ChildProcess:
    """A module of ours in a process that ends when its end of a socket is closed. Not thread-safe: what is
    sent and what is received alternate.

    Each line that it writes to stderr is a warning in the log.
    """

    def __init__(
        self, module: str, *arguments: object, shared: Sequence[int] = (), log: logging.Logger, called: str
    ) -> None:
        """Its arguments begin with the numbers of its end of the socket and of the `shared` descriptors.

        Raises:
            OSError: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        self._wire = Wire(ours)
        with theirs:
            inherited = [theirs.fileno(), *shared]
            try:
                self._process = subprocess.Popen(  # noqa: S603  our own module, by our own interpreter
                    # -P: the working directory is not ours and must not shadow modules
                    [sys.executable, "-P", "-m", module, *map(str, [*inherited, *arguments])],
                    pass_fds=inherited,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                )
            except BaseException:
                ours.close()
                raise
        assert self._process.stderr is not None  # noqa: S101  asked for above
        self._stderr = self._process.stderr
        self._reader = threading.Thread(
            target=_log_lines, args=(self._stderr, log, called), name=f"{called} stderr", daemon=True
        )
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def post(self, *message: Any, seconds: float) -> None:
        """Send a request whose answer is taken later. Raises ChildGone."""
        self.send(MESSAGE, pickle.dumps(message, pickle.HIGHEST_PROTOCOL), seconds)

    def take(self, seconds: float) -> tuple[str, Any]:
        """Status and answer of the next message, usually of the request sent last. Raises ChildGone."""
        status, answer = told(self.receive(seconds)[1])
        return status, answer

    def send(self, kind: bytes, body: bytes, seconds: float) -> None:
        """Raises ChildGone."""
        try:
            self._wire.limit(socket.SO_SNDTIMEO, seconds)
            self._wire.send(kind, body)
        except OSError as problem:
            raise self._gone(problem, seconds) from None

    def receive(self, seconds: float) -> tuple[bytes, bytearray]:
        """Kind and body of the next frame. Raises ChildGone."""
        try:
            self._wire.limit(socket.SO_RCVTIMEO, seconds)
            return self._wire.receive()
        except (OSError, EOFError) as problem:
            raise self._gone(problem, seconds) from None

    def answers_within(self, seconds: float) -> bool:
        """Whether there is something to receive, be it only that the child has ended."""
        if self._process.returncode is not None:
            return True
        poll = select.poll()
        poll.register(self._wire.socket, select.POLLIN)
        return bool(poll.poll(1e3 * seconds))

    def kill(self) -> None:
        """End the child now; may be called twice."""
        self._process.kill()
        self._process.wait()
        self._wire.close()
        self._reader.join(1.0)
        self._stderr.close()

    def end(self, seconds: float) -> None:
        """Hang up, upon which the child ends; kill it when it does not. May be called twice."""
        self._wire.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self.kill()

    def _gone(self, problem: Exception, seconds: float) -> ChildGone:
        self.kill()
        return ChildGone(silent=isinstance(problem, BlockingIOError), seconds=seconds)


def _log_lines(stream: IO[bytes], log: logging.Logger, called: str) -> None:
    for line in stream:
        text = line.decode(errors="replace").rstrip()
        if text:
            log.warning("%s: %s", called, text)
