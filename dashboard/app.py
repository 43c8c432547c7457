"""One ASGI application: the dashboard at `/`, the API beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.routing import Mount, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import ROOT_PATHS, create_api, root_routes
from dashboard import resources, widgets

API = "/api/v1"

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    # Whatever a page may come to hold, the browser asks nobody but Robi.
    (
        b"content-security-policy",
        b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; base-uri 'self'",
    ),
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
)


class SecurityHeaders:
    """Adds the same few headers to every HTTP answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


class Front:
    """Sends each request to the API or to the dashboard.

    The API's own answers need none of the dashboard's middleware (sessions, compression), which takes as long
    as a search does.
    """

    def __init__(self, api: Router, dashboard: ASGIApp) -> None:
        self.api = api
        self.dashboard = dashboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_api = scope["type"] in ("http", "websocket") and _is_api(scope["path"])
        await (self.api if is_api else self.dashboard)(scope, receive, send)


def _is_api(path: str) -> bool:
    return path in ROOT_PATHS or path == API or path.startswith(f"{API}/")


def build_app() -> ASGIApp:
    """The whole application. `resources.open_resources` must have been called; it closes them."""

    @asynccontextmanager
    async def lifespan(_: st.App) -> AsyncIterator[None]:
        try:
            yield
        finally:
            resources.close_resources()

    dashboard = st.App(
        Path(__file__).with_name("main.py"), lifespan=lifespan, on_script_error=_on_script_error
    )
    api = Router([Mount(API, app=create_api(resources.get)), *root_routes(resources.get)])
    return SecurityHeaders(Front(api, dashboard))


def _on_script_error(problem: Exception) -> bool:
    widgets.show_failure(problem)
    return True
