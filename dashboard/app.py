"""One ASGI application: the dashboard at `/`, the API beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.formparsers import MultiPartParser
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import Mount, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import ROOT_PATHS, create_api, root_routes
from api.errors import http_answer, new_request_id
from api.guard import Guard, notice
from api.middleware import BodyBudget
from core.domain.errors import RobiError
from core.runtime.budget import BODIES
from dashboard import streamlit_options
from dashboard.shared import resources, widgets

API = "/api/v1"
PAGES = frozenset(path.stem for path in widgets.PAGES.glob("*.py"))

_COOP = b"cross-origin-opener-policy"
_HEADERS = (
    (_COOP, b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    # Whatever a page may come to hold, the browser asks nobody but Robi.
    (
        b"content-security-policy",
        b"; ".join(
            (
                b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'",
                b"object-src 'none'",
                b"base-uri 'self'",
                b"form-action 'self'",
                b"frame-ancestors 'self'",
            )
        ),
    ),
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
)


_MEDIA = "/media/"  # pictures that pages show: faces, mostly
# What the dashboard's own pages load. Every other path gets 404; Streamlit would answer it with the page.
_ASSETS = ("/_stcore/", _MEDIA, "/static/", "/component/")
_FILES = frozenset({"/", "/favicon.png", "/index.html", "/manifest.json"})


class SecurityHeaders:
    """Adds the same few headers to every HTTP answer; pictures are kept by no cache."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
                if scope["path"].startswith(_MEDIA):
                    MutableHeaders(scope=message)["cache-control"] = "no-store"
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


class Front:
    """Sends each request to the API or to the dashboard; every other path gets 404.

    The API's own answers need none of the dashboard's middleware (sessions, compression), which takes as long
    as a search does.
    """

    def __init__(self, api: Router, dashboard: ASGIApp) -> None:
        self.api = api
        self.dashboard = dashboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._owner(scope)(scope, receive, send)

    def _owner(self, scope: Scope) -> ASGIApp:
        if scope["type"] not in ("http", "websocket"):
            return self.dashboard
        path = scope["path"]
        if _is_api(path):
            return self._headless if scope.get("method") == "HEAD" else self.api
        if path in _FILES or path.startswith(_ASSETS) or path[1:] in PAGES:
            return self.dashboard
        if path.rstrip("/")[1:] in PAGES:
            return RedirectResponse(path.rstrip("/"))
        return _no_such_page

    async def _headless(self, scope: Scope, receive: Receive, send: Send) -> None:
        """HEAD is GET without the body, which the server leaves out by itself."""
        await self.api({**scope, "method": "GET"}, receive, send)


def _is_api(path: str) -> bool:
    return path in ROOT_PATHS or path == "/api" or path.startswith("/api/")


async def _no_such_call(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await http_answer(HTTPStatus.NOT_FOUND, new_request_id())(scope, receive, send)


async def _no_such_page(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket" or "text/html" not in Headers(scope=scope).get("accept", ""):
        await _no_such_call(scope, receive, send)
        return
    page = notice("There is no such page.", 'Go to <a href="/">Robi</a>.')
    await HTMLResponse(page, HTTPStatus.NOT_FOUND)(scope, receive, send)


def build_app() -> ASGIApp:
    """The whole application. `resources.open_resources` must have been called; it closes them."""

    @asynccontextmanager
    async def lifespan(_: st.App) -> AsyncIterator[None]:
        try:
            yield
        finally:
            resources.close_resources()

    # Nor do photos that are uploaded on a page lie in a temporary directory: no form rolls over to a file.
    MultiPartParser.spool_max_size = 0
    streamlit_options.apply()
    dashboard = st.App(
        Path(__file__).with_name("shell.py"), lifespan=lifespan, on_script_error=_on_script_error
    )
    routes = [Mount(API, app=create_api(resources.get)), *root_routes(resources.get)]
    api = Router(routes, redirect_slashes=False, default=_no_such_call)
    hosts = resources.get().settings.allowed_hosts
    front = BodyBudget(Front(api, dashboard), BODIES, _count)
    return SecurityHeaders(Guard(front, hosts, _count))


def _count(problem: RobiError) -> None:
    resources.get().service.metrics.error(problem.code)


def _on_script_error(problem: Exception) -> bool:
    widgets.show_failure(problem)
    return True
