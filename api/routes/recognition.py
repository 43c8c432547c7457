"""Verify a face, identify every face of an image, search with an embedding."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form

from api.backend import BackendDep
from api.direct import DirectRoute
from api.forms import UploadRoute
from api.routes import failures
from api.routes.fields import Image, StrategyField, Threshold, TopK
from api.schemas.recognition import IdentifyAnswer, SearchAnswer, SearchQuery, VerifyAnswer
from core.telemetry import tracing

router = APIRouter(tags=["recognition"], route_class=DirectRoute)
uploads = APIRouter(tags=["recognition"], route_class=UploadRoute)


@uploads.post(
    "/verify",
    summary="Check the largest face of an image",
    responses=failures(400, 404, 413, 415, 422, 429, 503),
)
async def verify(
    backend: BackendDep,
    image: Image,
    user_id: Annotated[
        str | None, Form(description="Is it this person (1:1)? Left out: who is it (1:N)?")
    ] = None,
    strategy: StrategyField = None,
    top_k: TopK = 5,
    threshold: Threshold = None,
) -> VerifyAnswer:
    result = await backend.compute.run(
        backend.service.recognition.verify,
        image.file.read(),
        user_id=user_id,
        strategy=strategy,
        top_k=top_k,
        threshold=threshold,
    )
    return VerifyAnswer.of(result)


@uploads.post(
    "/identify", summary="Look up every face of an image", responses=failures(400, 413, 415, 422, 429, 503)
)
async def identify(
    backend: BackendDep,
    image: Image,
    strategy: StrategyField = None,
    top_k: TopK = 5,
    threshold: Threshold = None,
) -> IdentifyAnswer:
    result = await backend.compute.run(
        backend.service.recognition.identify,
        image.file.read(),
        strategy=strategy,
        top_k=top_k,
        threshold=threshold,
    )
    return IdentifyAnswer.of(result)


@router.post("/search", summary="Search with an embedding", responses=failures(400, 413, 429, 503))
async def search(backend: BackendDep, query: SearchQuery) -> SearchAnswer:
    found = backend.service.matching.submit(  # waits in the store's queue, not on a thread of ours
        query.embedding, strategy=query.strategy, top_k=query.top_k, threshold=query.threshold
    )
    results = await backend.completions.of(found)
    tracing.searched(results)
    return SearchAnswer.of(results[0])
