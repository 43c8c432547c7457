"""One ASGI application: the dashboard at `/`, the API beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import create_api, root_routes
from dashboard import resources, widgets

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


def build_app() -> st.App:
    """The whole application. `resources.open_resources` must have been called; it closes them."""

    @asynccontextmanager
    async def lifespan(_: st.App) -> AsyncIterator[None]:
        try:
            yield
        finally:
            resources.close_resources()

    return st.App(
        Path(__file__).with_name("main.py"),
        lifespan=lifespan,
        middleware=[Middleware(SecurityHeaders)],
        routes=[*root_routes(resources.get), Mount("/api/v1", app=create_api(resources.get))],
        on_script_error=_on_script_error,
    )


def _on_script_error(problem: Exception) -> bool:
    widgets.show_failure(problem)
    return True
