"""The Edge child process seen from the parent: start, one request with a deadline, kill."""

from __future__ import annotations

import logging
import os
import socket
import struct
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

logger = logging.getLogger("robi.store.edge")

ROOT = Path(__file__).resolve().parents[2]


class ChildGone(Exception):
    """The child died, or did not answer within the deadline and was killed."""


class EngineError(Exception):
    """The engine refused a request; the child lives. The text is for the log only."""


class EdgeProcess:
    """One child. Not thread-safe: the tier serialises requests."""

    def __init__(self, directory: Path, dimension: int) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(  # noqa: S603
            [
                sys.executable,
                "-P",  # the working directory is not ours and must not shadow modules
                "-m",
                "core.store.edge_child",
                str(theirs.fileno()),
                str(directory),
                str(dimension),
            ],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
        )
        theirs.close()
        self._connection = Connection(ours.fileno())
        assert self._process.stderr is not None  # noqa: S101  asked for above
        self._reader = threading.Thread(
            target=_log_lines, args=(self._process.stderr,), name="edge-stderr", daemon=True
        )
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def receive(self, deadline: float) -> tuple[str, Any]:
        """The child's next message.

        Raises:
            ChildGone: there is none within `deadline` seconds; the child is dead by then.
        """
        self._limit(socket.SO_RCVTIMEO, deadline)
        try:
            status, answer = self._connection.recv()
        except (OSError, EOFError) as problem:
            self.kill()
            raise ChildGone(_reason(problem, deadline)) from None
        return status, answer

    def request(self, message: tuple[Any, ...], deadline: float) -> Any:
        """Send one request and return its answer.

        Raises:
            ChildGone: no answer within `deadline` seconds; the child is dead by then.
            EngineError: the engine refused.
        """
        self._limit(socket.SO_SNDTIMEO, deadline)
        try:
            self._connection.send(message)
        except OSError as problem:
            self.kill()
            raise ChildGone(_reason(problem, deadline)) from None
        status, answer = self.receive(deadline)
        if status != "ok":
            raise EngineError(answer)
        return answer

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

    def _limit(self, option: int, seconds: float) -> None:
        if self._connection.closed:
            raise ChildGone("it was killed")
        whole = int(seconds)
        self._socket.setsockopt(
            socket.SOL_SOCKET, option, struct.pack("ll", whole, int((seconds - whole) * 1e6))
        )

    def _release(self) -> None:
        self._reader.join(1.0)
        if not self._connection.closed:
            self._socket.detach()  # the connection closes the descriptor that both know
            self._connection.close()
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
