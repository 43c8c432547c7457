"""How many connections Robi keeps, and how long it waits for each: who is silent takes nobody's place."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Protocol

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

HEAD_S = 10.0  # for the whole head of a request, from the connection's beginning or the last answer's end
BODY_GRACE_S = 10.0  # before the rate of a body is looked at
BODY_RATE = 16_000  # least bytes a second, on average
STALLED_S = 30.0  # an answer of which the client takes nothing
_LONGEST_STEP_S = 2.0
_SAY_EVERY_S = 60.0

logger = logging.getLogger("dashboard")


class HttpConnection(Protocol):
    """What `Connections` needs of a connection."""

    transport: asyncio.Transport
    flow: FlowControl

    def give_up(self) -> None:
        """The rest of the request did not come in time."""


@dataclass(slots=True)
class _Wait:
    since: float
    heard: int  # when it was last heard of, counted in things heard of all connections
    size: int = 0  # of the body so far


class Connections(ServerState):
    """All connections of the server, and for which part of a request Robi waits on each HTTP one.

    Time is counted by `sweep`, once a second, and never by more than two: what a busy server did not get
    round to reading is not held against its clients.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self._clock = 0.0
        self._swept = time.monotonic()
        self._heard = 0
        self._heads: dict[HttpConnection, _Wait] = {}  # here and below, the longest silent first
        self._bodies: dict[HttpConnection, _Wait] = {}
        self._untaken: dict[
            object, tuple[int, float]
        ] = {}  # bytes of an answer that wait to be taken, and since when it is so many
        self._turned_away = 0
        self._say_at = 0.0

    def admit(self, connection: HttpConnection) -> bool:
        """Whether the new connection is accepted; without room for it, the longest silent one is closed."""
        if len(self.connections) > self.most and not self.make_room():
            self._turned_away += 1
            return False
        self.await_head(connection)
        return True

    def make_room(self) -> bool:
        """Close the connection that has been silent for longest; never one that waits for Robi's answer."""
        firsts = (next(iter(waits.items()), None) for waits in (self._heads, self._bodies))
        silent = [first for first in firsts if first is not None]
        if not silent:
            return False
        longest, _ = min(silent, key=lambda first: first[1].heard)
        self._turned_away += 1
        self.forget(longest)
        self.connections.discard(longest)
        longest.transport.abort()
        return True

    def has_room_for_socket(self) -> bool:
        """WebSockets stay for hours: half of the places are left to requests."""
        sockets = sum(not isinstance(connection, HttpToolsProtocol) for connection in self.connections)
        return 2 * sockets < self.most

    def await_head(self, connection: HttpConnection) -> None:
        self.forget(connection)
        self._heads[connection] = self._wait()

    def await_body(self, connection: HttpConnection) -> None:
        self.forget(connection)
        self._bodies[connection] = self._wait()

    def heard(self, connection: HttpConnection, size: int) -> None:
        """More of the body."""
        wait = self._bodies.pop(connection, None)
        if wait is not None:
            self._heard += 1
            wait.heard = self._heard
            wait.size += size
            self._bodies[connection] = wait

    def _wait(self) -> _Wait:
        self._heard += 1
        return _Wait(self._clock, self._heard)

    def forget(self, connection: HttpConnection) -> None:
        """Nothing is expected of it: Robi is at work for it, or it is gone."""
        self._heads.pop(connection, None)
        self._bodies.pop(connection, None)

    def sweep(self) -> None:
        now = time.monotonic()
        step = min(now - self._swept, _LONGEST_STEP_S)
        self._swept = now
        self._clock += step
        late = [connection for connection, wait in self._heads.items() if self._clock - wait.since > HEAD_S]
        late += [
            connection for connection, wait in self._bodies.items() if self._is_slow(connection, wait, step)
        ]
        for connection in late:
            self.forget(connection)
            connection.give_up()
        self._abort_stalled()
        self._say(now)

    def _is_slow(self, connection: HttpConnection, wait: _Wait, step: float) -> bool:
        if connection.flow.read_paused:  # Robi does not read: nor does its time count
            wait.since += step
        return wait.size < BODY_RATE * (self._clock - wait.since - BODY_GRACE_S)

    def _abort_stalled(self) -> None:
        before, self._untaken = self._untaken, {}
        for connection in list(self.connections):
            size = connection.transport.get_write_buffer_size()
            if not size:
                continue
            last, since = before.get(connection, (size + 1, self._clock))
            self._untaken[connection] = (size, self._clock) if size < last else (size, since)
            if self._clock - self._untaken[connection][1] > STALLED_S:
                connection.transport.abort()

    def _say(self, now: float) -> None:
        if self._turned_away and now >= self._say_at:
            logger.warning(
                "more connections than the %d that Robi keeps: %d were closed", self.most, self._turned_away
            )
            self._turned_away, self._say_at = 0, now + _SAY_EVERY_S
