"""A wire between Robi and a server, that can be cut: every connection through it is reset, as by a router."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType

HOST = "127.0.0.1"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


class Proxy:
    """Listens on `port` and passes on to `target`; use as a context manager."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def reset(self) -> None:
        with self._lock:
            ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RD)  # wakes whoever waits for it, who then closes it
            end.close()

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.reset()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection((HOST, self._target))
            except OSError:
                return
            with self._lock:
                self._ends += [client, server]
            for source, drain in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, drain), daemon=True).start()

    def _pass_on(self, source: socket.socket, drain: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                drain.sendall(data)
        for end in (source, drain):
            end.close()
