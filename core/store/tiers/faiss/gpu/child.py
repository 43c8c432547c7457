"""A part of the gallery on one GPU, in a process of its own.

FAISS ends the process when CUDA reports an error, so a lost card must not be able to take Robi with it; and
its GPU side bears no second thread, of which this process has none. Answers requests on the inherited socket,
one at a time, and ends when the other side is gone.

Run as `python -m core.store.tiers.faiss.gpu.child SOCKET MEMORY DEVICE DIMENSION`.
"""

from __future__ import annotations

import mmap
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import numpy as np

from core.domain.faces import Embeddings
from core.runtime.wire import Wire, told
from core.store.tiers.faiss.gpu.card import Card, CardPart, Found, Halves
from core.store.tiers.faiss.gpu.driver import CardFull, NoCard


class Part(Protocol):
    """Rows in memory of some kind, searched in numbers of two bytes."""

    def describe(self) -> Card: ...

    def reserve(self, rows: int) -> None: ...

    def add(self, rows: Halves) -> None: ...

    def search(self, probes: Embeddings, k: int) -> Found: ...


OpenPart = Callable[[int, int], Part]


def serve(wire: Wire, part: Part, shared: Halves) -> None:
    """Answer requests until the parent hangs up. `shared` (n, dimension) is where it puts rows to add."""
    operations: dict[str, Callable[..., object]] = {
        "describe": part.describe,
        "reserve": part.reserve,
        "add": lambda count: part.add(shared[:count]),
        "search": part.search,
    }
    while True:
        operation, *arguments = told(wire.receive()[1])
        try:
            answer = ("ok", operations[operation](*arguments))
        except (CardFull, MemoryError):
            answer = ("full", None)
        except Exception as problem:  # noqa: BLE001  FAISS and the driver raise many kinds; the parent decides
            full = "out of memory" in str(problem)
            answer = ("full", None) if full else ("error", f"{type(problem).__name__}: {problem}")
        wire.tell(*answer)


def run(arguments: Sequence[str], open_part: OpenPart) -> int:
    """Open a part, say how that went, and serve it."""
    descriptor, shared, device, dimension = map(int, arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle, which then hangs up
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump of this process would hold faces
    wire = Wire(socket.socket(fileno=descriptor))
    try:
        part = open_part(device, dimension)
        wire.tell("ok", part.describe())
    except NoCard as problem:
        wire.tell("none", str(problem))
        return 1
    except CardFull:
        wire.tell("none", "The memory of the GPU is full.")
        return 1
    except Exception as problem:  # noqa: BLE001  as in `serve`
        wire.tell("none", f"The GPU cannot be used: {type(problem).__name__}: {problem}")
        return 1
    with suppress(EOFError, ConnectionError):
        numbers = np.frombuffer(mmap.mmap(shared, 0), np.uint16)
        serve(wire, part, numbers[: numbers.size // dimension * dimension].reshape(-1, dimension))
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], CardPart))
