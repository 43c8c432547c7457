"""What happens to every request: an id, a figure, a line in the log, a limit on its body, a last resort."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Refused, answer, error_response, new_request_id
from core.domain.errors import Busy, RobiError, TooLarge
from core.metrics import Metrics
from core.runtime.budget import Budget, give_memory_back
from core.telemetry import logs, tracing

access = logging.getLogger("robi.api.access")
logger = logging.getLogger("robi.api")

_NOT_COUNTED = 64 * 1024  # bytes of a body
_LARGE = 8_000_000  # bytes of a body, from which memory is handed back to the system at once
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# Asked every few seconds, by machines: noise in a log or as traces.
_POLLED = frozenset({"/health", "/livez", "/readyz", "/metrics"})
# Whatever else a client makes up is one value: the names of OpenTelemetry's HTTP conventions.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_CLIENT_GONE = 499  # in logs and metrics, as nginx has it


class RequestContext:
    """Gives each request its id, measures, logs and traces how it went, and turns what nobody caught into a
    plain 500.

    Log, metrics and traces have the route's template, never the path: that would tell who was looked up.
    """

    def __init__(self, app: ASGIApp, metrics: Callable[[], Metrics]) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        scope.setdefault("state", {})["request_id"] = request_id
        outside = logs.request_id.set(request_id)
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        polled = scope["path"] in _POLLED
        span = None if polled else tracing.begin(headers, method, request_id)
        started, status = time.perf_counter(), 0

        async def with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self.app(scope, receive, with_id)
        except ClientDisconnect:  # nobody is left to be answered, and nothing is wrong here
            status = status or _CLIENT_GONE
        except Exception:  # the body must not tell what went wrong inside; the log must
            logger.exception("request failed", extra={"request_id": request_id})
            if status:
                raise  # the answer has begun: only breaking the connection is left
            await _internal_error(request_id)(scope, receive, with_id)
        finally:
            seconds, route = time.perf_counter() - started, _route(scope)
            self._measure(method, route, status, seconds)
            level = logging.DEBUG if polled else logging.INFO
            if access.isEnabledFor(level):
                _log(level, request_id, method, route, status, seconds)
            if span is not None:
                span.end(method, route, status)
            logs.request_id.reset(outside)

    def _measure(self, method: str, route: str, status: int, seconds: float) -> None:
        try:
            metrics = self._metrics()
        except RuntimeError:  # Robi is closing: there is nobody left to tell
            return
        metrics.counters.request(method, route, status, seconds)


class BodyLimit:
    """Refuses a body that is too large: by its announced length at once, otherwise while it arrives."""

    def __init__(self, app: ASGIApp, limit: Callable[[Scope], int]) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limit(scope)
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdigit() and int(announced) > limit:
            await answer(Request(scope), _too_large(limit))(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise Refused(_too_large(limit))
            return message

        await self.app(scope, counted, send)


class BodyBudget:
    """Has the bodies of all requests together fit into memory: room is taken before anything is read.

    A body that tells its length takes as much at once; another one by steps while it arrives. Small ones are
    not counted.
    """

    def __init__(self, app: ASGIApp, budget: Budget, refused: Callable[[RobiError], None]) -> None:
        self.app = app
        self._budget = budget
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdigit():
            await self._announced(int(announced), scope, receive, send)
        else:
            await self._arriving(scope, receive, send)

    async def _announced(self, size: int, scope: Scope, receive: Receive, send: Send) -> None:
        if size <= _NOT_COUNTED:
            await self.app(scope, receive, send)
            return
        try:
            self._budget.take(size)
        except Busy as problem:
            await self._refuse(problem, scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            self._budget.give_back(size)
            if size > _LARGE:  # a moment later: what holds the parts goes with this call
                asyncio.get_running_loop().call_later(1.0, give_memory_back)

    async def _arriving(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken, arrived, answered = 0, 0, False

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        async def counted() -> Message:
            nonlocal taken, arrived
            message = await receive()
            arrived += len(message.get("body", b""))
            if arrived > taken + _NOT_COUNTED:
                self._budget.take(arrived - taken)
                taken = arrived
            return message

        try:
            await self.app(scope, counted, noted)
        except Busy as problem:
            if not answered:
                await self._refuse(problem, scope, receive, send)
        finally:
            self._budget.give_back(taken)
            if taken > _LARGE:
                asyncio.get_running_loop().call_later(1.0, give_memory_back)

    async def _refuse(self, problem: RobiError, scope: Scope, receive: Receive, send: Send) -> None:
        self._refused(problem)
        refusal = error_response(
            problem.status,
            problem.code,
            problem.message,
            problem.hint,
            request_id=new_request_id(),
            headers={"Retry-After": "1", "Connection": "close"},
        )
        await refusal(scope, receive, send)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else new_request_id()


def _internal_error(request_id: str) -> ASGIApp:
    return error_response(
        500,
        "internal_error",
        "Something went wrong inside Robi.",
        "Try again; if it stays so, look for the request id in Robi's log.",
        request_id=request_id,
    )


def _route(scope: Scope) -> str:
    route = scope.get("route")
    return scope.get("root_path", "") + route.path if isinstance(route, Route) else "(no such page)"


def _log(level: int, request_id: str, method: str, route: str, status: int, seconds: float) -> None:
    fields = {
        "request_id": request_id,
        "method": method,
        "route": route,
        "status": status,
        "ms": round(1e3 * seconds, 1),
    }
    access.log(level, " ".join(f"{key}={value}" for key, value in fields.items()), extra=fields)


def _too_large(limit: int) -> RobiError:
    return TooLarge(
        "body_too_large",
        f"The request is larger than the {limit // 1_000_000} MB that this call takes.",
        "Send fewer or smaller images.",
    )
