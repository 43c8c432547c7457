"""What the routes work with, handed to them by FastAPI."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends
from starlette.requests import HTTPConnection

from api.completions import Completions
from api.workers import Workers
from core.config.settings import Settings
from core.live import LiveSessions
from core.services.service import RobiService


class ApiResources(Protocol):
    """What the process owns and the API uses."""

    @property
    def settings(self) -> Settings: ...

    @property
    def service(self) -> RobiService: ...

    @property
    def live(self) -> LiveSessions: ...


@dataclass(eq=False, slots=True)
class Speaker:
    """The socket that speaks for a live session now. `turn` passes on to the one that takes over."""

    turn: asyncio.Lock


class Backend:
    """The resources, and the threads that work on them.

    Recognition has threads of its own: whoever only looks something up does not wait behind it.
    """

    def __init__(self, resources: Callable[[], ApiResources]) -> None:
        self._resources = resources
        self.compute = Workers("api-compute", threads=max(2, os.cpu_count() or 2), waiting=64)
        self.lookup = Workers("api-lookup", threads=4, waiting=128)
        self.completions = Completions()
        self.speakers: dict[str, Speaker] = {}  # by the token of the live session

    def close(self) -> None:
        """Finish what runs. The resources stay with their owner."""
        self.compute.close()
        self.lookup.close()

    @property
    def settings(self) -> Settings:
        return self._resources().settings

    @property
    def service(self) -> RobiService:
        return self._resources().service

    @property
    def live(self) -> LiveSessions:
        return self._resources().live


def backend_of(connection: HTTPConnection) -> Backend:
    backend: Backend = connection.app.state.backend
    return backend


async def _backend(connection: HTTPConnection) -> Backend:  # async: FastAPI runs others on a thread
    return backend_of(connection)


BackendDep = Annotated[Backend, Depends(_backend)]
