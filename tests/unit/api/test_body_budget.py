"""The bodies of all requests together fit into memory, or are refused before they are read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from api.middleware import BodyBudget
from core.domain.errors import RobiError
from core.runtime.budget import Budget

MEGABYTE = 1_000_000


class Caller:
    """Sends one request of so many parts through the middleware, and keeps what came back."""

    def __init__(self, budget: Budget, length: int | None = None, method: str = "POST") -> None:
        self.read = 0
        self.held_meanwhile = 0
        self.sent: list[dict[str, Any]] = []
        self.refused: list[RobiError] = []
        self._budget = budget
        headers = [] if length is None else [(b"content-length", str(length).encode())]
        self._scope = {"type": "http", "method": method, "path": "/", "headers": headers}

    def call(self, *parts: bytes) -> Caller:
        waiting = [{"type": "http.request", "body": p, "more_body": True} for p in parts]

        async def receive() -> dict[str, Any]:
            return waiting.pop(0) if waiting else {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message)

        async def behind(scope: Any, receive: Any, send: Any) -> None:
            more = True
            while more:
                message = await receive()
                self.read += len(message["body"])
                more = message["more_body"]
            self.held_meanwhile = self._budget.taken
            await send({"type": "http.response.start", "status": 200, "headers": []})

        guarded = BodyBudget(behind, self._budget, self.refused.append)
        asyncio.run(guarded(self._scope, receive, send))
        return self


def test_an_announced_body_takes_its_room_before_it_is_read_and_gives_it_back() -> None:
    budget = Budget(10 * MEGABYTE)
    caller = Caller(budget, 3 * MEGABYTE).call(bytes(100))
    assert (caller.held_meanwhile, budget.taken) == (3 * MEGABYTE, 0)


def test_what_does_not_fit_is_refused_unread_and_told_when_to_come_again() -> None:
    budget = Budget(10 * MEGABYTE)
    with budget.held(8 * MEGABYTE):
        caller = Caller(budget, 3 * MEGABYTE).call(bytes(100))
        assert budget.taken == 8 * MEGABYTE
    start, body = caller.sent
    assert (start["status"], dict(start["headers"])[b"retry-after"]) == (429, b"1")
    assert json.loads(body["body"])["error"]["code"] == "busy"
    assert caller.read == 0
    assert [problem.code for problem in caller.refused] == ["busy"]


def test_a_body_of_unknown_length_takes_room_while_it_arrives() -> None:
    budget = Budget(10 * MEGABYTE)
    caller = Caller(budget).call(*[bytes(MEGABYTE)] * 4)
    assert (caller.held_meanwhile, caller.read, budget.taken) == (4 * MEGABYTE, 4 * MEGABYTE, 0)
    with budget.held(8 * MEGABYTE):
        caller = Caller(budget).call(*[bytes(MEGABYTE)] * 4)
        assert caller.sent[0]["status"] == 429
        assert caller.read == 2 * MEGABYTE
        assert budget.taken == 8 * MEGABYTE


def test_small_bodies_and_requests_without_one_pass_whatever_is_taken() -> None:
    budget = Budget(MEGABYTE)
    with budget.held(MEGABYTE):
        assert Caller(budget, 1000).call(bytes(1000)).sent[0]["status"] == 200
        assert Caller(budget).call(bytes(1000)).sent[0]["status"] == 200
        assert Caller(budget, method="GET").call().sent[0]["status"] == 200
