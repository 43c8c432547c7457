"""What Robi and its child processes say to each other: one request, one answer, in frames over a socket.

A message is a pickled tuple: (operation, arguments...) one way, (status, answer) back. What has to be faster
than a pickle has a kind of frame, and a form, of its own.
"""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any, Final

MESSAGE: Final = b"m"

_HEAD = struct.Struct("<Ic")  # length of the body, kind


class Wire:
    """One end of the socket. Errors are OSError and EOFError; a time limit is BlockingIOError."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._limits: dict[int, float] = {}

    def limit(self, option: int, seconds: float) -> None:
        """Bound sending (SO_SNDTIMEO) or receiving (SO_RCVTIMEO); costs a call only when it changes."""
        if self._limits.get(option) == seconds:
            return
        whole = int(seconds)
        self.socket.setsockopt(
            socket.SOL_SOCKET, option, struct.pack("ll", whole, int((seconds - whole) * 1e6))
        )
        self._limits[option] = seconds

    def send(self, kind: bytes, body: bytes) -> None:
        self.socket.sendall(_HEAD.pack(len(body), kind) + body)

    def tell(self, *message: Any) -> None:
        self.send(MESSAGE, pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def receive(self) -> tuple[bytes, bytearray]:
        """Kind and body of the next frame."""
        length, kind = _HEAD.unpack(self._exactly(_HEAD.size))
        return kind, self._exactly(length)

    def close(self) -> None:
        self.socket.close()

    def _exactly(self, length: int) -> bytearray:
        body = bytearray(length)
        view = memoryview(body)
        while view:
            got = self.socket.recv_into(view)
            if not got:
                raise EOFError
            view = view[got:]
        return body


def told(body: bytearray) -> tuple[Any, ...]:
    """What `Wire.tell` sent. Only ever from a process that this one started, or was started by."""
    message: tuple[Any, ...] = pickle.loads(body)  # noqa: S301  both ends are ours, over an unnamed socket
    return message
