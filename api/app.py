"""The API: everything under `/api/v1` as one application, and the few routes that live at the root."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from api import docs, errors, live
from api.backend import ApiResources, Backend
from api.middleware import BodyLimit, RequestContext
from api.routes import people, recognition, system

_SMALL_BODY = 1_000_000  # bytes; JSON
_IMAGES = {"/enroll": 10, "/verify": 1, "/identify": 1}  # full-sized images that a call takes at a time
# FastAPI's own would quote what was sent and what went wrong inside; `core.telemetry.tracing` does not.
_OWN_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
ROOT_PATHS = ("/health", "/livez", "/readyz", "/stats", "/users", "/metrics")


def create_api(resources: Callable[[], ApiResources]) -> FastAPI:
    """The application to be mounted at `/api/v1`. Its own lifespan is not needed."""
    app = _application(resources)
    routers = (  # the busiest first: they are tried in this order
        recognition.router,
        recognition.uploads,
        people.uploads,
        people.listing,
        people.router,
        system.stats,
        system.router,
        live.router,
        docs.router,
    )
    for router in routers:
        app.include_router(router)
    return app


def root_routes(resources: Callable[[], ApiResources]) -> list[BaseRoute]:
    """The paths of `ROOT_PATHS`, to be put beside the mounted API."""
    app = _application(resources)
    for router in (system.root, system.stats, people.listing):
        app.include_router(router)
    return [Route(path, app) for path in ROOT_PATHS]


def _application(resources: Callable[[], ApiResources]) -> FastAPI:
    app = FastAPI(
        title="Robi Face Verification",
        version="1",
        description="Enroll people, verify and identify faces. Every answer carries `X-Request-ID`.",
        docs_url=None,  # the usual page is fetched from elsewhere; `api.docs` needs no network
        redoc_url=None,
        redirect_slashes=False,  # it would answer with whatever name the request asked for
        telemetry=_OWN_TELEMETRY,
    )
    app.state.backend = backend = Backend(resources)
    errors.install(app)
    app.add_middleware(BodyLimit, limit=lambda scope: _body_limit(app, scope))
    app.add_middleware(RequestContext, metrics=lambda: backend.service.metrics)
    return app


def _body_limit(app: FastAPI, scope: Scope) -> int:
    backend: Backend = app.state.backend
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    images = _IMAGES.get(path, 0)
    return _SMALL_BODY + images * backend.settings.robi_max_upload_mb * 1_000_000
