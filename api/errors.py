"""The error tree as HTTP: `{"error": {"code", "message", "hint", "request_id"}}` and the right status."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from api.backend import backend_of
from core.domain.errors import BadInput, RobiError

logger = logging.getLogger("robi.api")

_FIELD_CODES = {
    "embedding": "invalid_embedding",
    "metadata": "invalid_metadata",
    "name": "invalid_name",
    "strategy": "bad_strategy",
    "user_id": "invalid_user_id",
}
_STATUS_CODES = {400: "bad_parameter", 404: "unknown_page", 405: "method_not_allowed", 413: "body_too_large"}
_STATUS_MESSAGES = {404: "There is no such page.", 405: "This call does not take that method."}
_DOCS = "The calls are described at /api/v1/docs."


class Refused(HTTPException):
    """A RobiError raised while FastAPI reads a body; it lets only its own exceptions through there."""

    def __init__(self, problem: RobiError) -> None:
        super().__init__(problem.status)
        self.problem = problem


def error_response(
    status: int,
    code: str,
    message: str,
    hint: str = "",
    *,
    request_id: str,
    detail: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    error: dict[str, Any] = {"code": code, "message": message, "hint": hint, "request_id": request_id}
    if detail:
        error["detail"] = dict(detail)
    return JSONResponse({"error": error}, status, {"X-Request-ID": request_id, **(headers or {})})


def new_request_id() -> str:
    return f"{random.getrandbits(64):016x}"


def bad_field(field: str, message: str, hint: str = "") -> BadInput:
    """What is wrong with one field of a request, under the code that this field has everywhere."""
    return BadInput(_FIELD_CODES.get(field, "bad_parameter"), message, hint)


def install(app: FastAPI) -> None:
    """Every failure of `app` leaves it in Robi's form."""
    app.add_exception_handler(RobiError, _robi_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(StarletteHTTPException, _http_error)


def answer(request: Request, problem: RobiError) -> JSONResponse:
    backend_of(request).service.metrics.error(problem.code)
    return error_response(
        problem.status,
        problem.code,
        problem.message,
        problem.hint,
        request_id=request.state.request_id,
        detail=problem.detail,
        headers={"Retry-After": "1"} if problem.status == HTTPStatus.TOO_MANY_REQUESTS else None,
    )


async def _robi_error(request: Request, problem: Exception) -> JSONResponse:
    assert isinstance(problem, RobiError)  # noqa: S101 -- registered for nothing else
    return answer(request, problem)


async def _validation_error(request: Request, problem: Exception) -> JSONResponse:
    assert isinstance(problem, RequestValidationError)  # noqa: S101 -- as above
    return answer(request, _first_fault(problem.errors()))


async def _http_error(request: Request, problem: Exception) -> JSONResponse:
    if isinstance(problem, Refused):
        return answer(request, problem.problem)
    assert isinstance(problem, StarletteHTTPException)  # noqa: S101 -- as above
    return http_answer(problem.status_code, request.state.request_id, problem.headers)


def http_answer(status: int, request_id: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """What HTTP itself has to say, in Robi's form: no such page, a method that a call does not take."""
    code = _STATUS_CODES.get(status, f"http_{status}")
    return error_response(
        status,
        code,
        _STATUS_MESSAGES.get(status, f"{HTTPStatus(status).phrase}."),
        _DOCS,
        request_id=request_id,
        headers=headers,
    )


def _first_fault(faults: Sequence[Any]) -> BadInput:
    """The first fault that pydantic found. Its texts say what was expected and leave out what was sent."""
    fault = faults[0]
    place = [part for part in fault["loc"] if isinstance(part, str)][1:]
    if fault["type"] == "json_invalid" or not place:
        return BadInput("bad_parameter", "The body is not what this call takes.", _DOCS)
    field = place[0]
    if fault["type"] == "extra_forbidden":
        return BadInput("bad_parameter", "There is a field that this call does not know.", _DOCS)
    if fault["type"] == "missing":
        return bad_field(field, f"{field} is missing.", _DOCS)
    return bad_field(field, f"{field}: {fault['msg'].removeprefix('Value error, ')}.", _DOCS)
