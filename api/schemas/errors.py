"""The form of every error."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.schemas.common import example


class ErrorBody(BaseModel):
    code: str = Field(description="Stable and machine-readable.")
    message: str = Field(description="One sentence: what is wrong.")
    hint: str = Field(description="What to do about it.")
    request_id: str = Field(description="As in the X-Request-ID header, and in Robi's log.")
    detail: dict[str, Any] | None = Field(None, description="With some codes only; absent otherwise.")


class ErrorAnswer(BaseModel):
    model_config = example(
        error={
            "code": "unknown_person",
            "message": "Nobody is enrolled under this user_id.",
            "hint": "Look the person up in the list of people.",
            "request_id": "5f0c8a2b9d3e4f61",
        }
    )
    error: ErrorBody
