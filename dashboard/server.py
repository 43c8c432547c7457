"""uvicorn, with bounds on its connections."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from typing import Any

import uvicorn

from dashboard.connections import Connections

QUEUE = 2048  # connections that the system keeps until Robi gets round to them
BURST = 64  # connections that are taken before those taken already are counted
_MOST = 4096
_DESCRIPTORS = 2 * _MOST
_RESERVE = 256  # descriptors for ledger, vectors, models, log and the threads' own


class BoundedServer(uvicorn.Server):
    """`config.backlog` should be BURST: asyncio takes as many connections in a row, and where descriptors run
    out it would say so as many times."""

    def __init__(self, config: uvicorn.Config, most: int | None = None) -> None:
        super().__init__(config)
        self.server_state: Connections = Connections(most_connections() if most is None else most)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(self._on_problem)
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(QUEUE)  # uvicorn has just shortened it to `backlog`

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # of 0.1 s each
            self.server_state.sweep()
        return await super().on_tick(counter)

    def _on_problem(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("message", "").startswith("socket.accept()"):  # something else took the descriptors
            self.server_state.make_room()
        loop.default_exception_handler(context)


def most_connections() -> int:
    """As many as descriptors allow, of which Robi first takes what the system lets it have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _DESCRIPTORS:
        wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft == resource.RLIM_INFINITY:
        return _MOST
    return min(_MOST, soft - min(_RESERVE, soft // 2))
