"""A child that answers each message with what it was told, unless it is to be silent, to complain or to end.

Run as `python -m tests.unit.runtime.echo SOCKET`.
"""

from __future__ import annotations

import socket
import sys

from core.runtime.wire import Wire, told

if __name__ == "__main__":
    wire = Wire(socket.socket(fileno=int(sys.argv[1])))
    while True:
        operation, *rest = told(wire.receive()[1])
        if operation == "end":
            sys.exit()
        if operation == "complain":
            print(*rest, file=sys.stderr, flush=True)
        if operation != "silent":
            wire.tell("ok", rest)
