"""Health, statistics and metrics."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from api.backend import BackendDep
from api.routes import failures
from api.schemas.system import ColdPerformance, HealthAnswer, StatsAnswer
from core.metrics.ranges import USUAL

RangeParam = Annotated[
    str,
    Query(
        alias="range",
        description="Of `series`, `window` and `objectives`: 5min, 15min, 1h, 6h, 24h, 7d or 30d.",
    ),
]

root = APIRouter(tags=["system"])
stats = APIRouter(tags=["system"])
router = APIRouter(tags=["system"])


@root.get(
    "/health",
    summary="Whether Robi can serve",
    responses={503: {"model": HealthAnswer, "description": "Nobody can be recognised now."}},
)
async def health(backend: BackendDep, response: Response) -> HealthAnswer:
    found = await backend.lookup.run(backend.service.monitor.health)
    response.status_code = 503 if found.status == "unavailable" else 200
    return HealthAnswer.of(found)


@root.get("/livez", summary="Whether the process answers at all")
async def alive() -> dict[str, str]:
    return {"status": "ok"}


@root.get(
    "/readyz",
    summary="Whether Robi can serve; as `/health`",
    responses={503: {"model": HealthAnswer, "description": "Nobody can be recognised now."}},
)
async def ready(backend: BackendDep, response: Response) -> HealthAnswer:
    return await health(backend, response)


@root.get("/metrics", summary="The same numbers for Prometheus", response_class=PlainTextResponse)
async def metrics(backend: BackendDep) -> Response:
    return Response(
        await backend.lookup.run(backend.service.monitor.prometheus), media_type=CONTENT_TYPE_LATEST
    )


@stats.get(
    "/stats", summary="Gallery, tiers, latency, throughput, hardware", responses=failures(400, 429, 503)
)
async def get_stats(backend: BackendDep, range_: RangeParam = USUAL) -> StatsAnswer:
    found = await backend.lookup.run(lambda: backend.service.monitor.stats(range_))
    return StatsAnswer.model_validate(found)


@router.get("/performance/qdrant", summary="The cold tier in detail", responses=failures(429, 503))
async def cold_performance(backend: BackendDep) -> ColdPerformance:
    return ColdPerformance.model_validate(await backend.lookup.run(backend.service.store.cold_info))
