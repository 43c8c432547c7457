"""A child process of Robi's own, seen from the parent: its start, what it complains of, its end."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]


class ChildProcess:
    """A module of ours in a process that ends when its end of a socket is closed. Not thread-safe.

    Each line that it writes to stderr is a warning in the log.
    """

    def __init__(
        self, module: str, *arguments: object, shared: Sequence[int] = (), log: logging.Logger, called: str
    ) -> None:
        """Its arguments begin with the numbers of its end of the socket and of the `shared` descriptors.

        Raises:
            OSError: it cannot be started.
        """
        self._socket, theirs = socket.socketpair()
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
                self._socket.close()
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

    def kill(self) -> None:
        """End the child now; may be called twice."""
        self._process.kill()
        self._process.wait()
        self._hang_up()
        self._reader.join(1.0)
        self._stderr.close()

    def _end(self, seconds: float) -> None:
        """Hang up, upon which the child ends; kill it when it does not. May be called twice."""
        self._hang_up()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self.kill()

    def _hang_up(self) -> None:
        """For whoever has made something else of the socket; may be called twice."""
        self._socket.close()


def _log_lines(stream: IO[bytes], log: logging.Logger, called: str) -> None:
    for line in stream:
        text = line.decode(errors="replace").rstrip()
        if text:
            log.warning("%s: %s", called, text)
