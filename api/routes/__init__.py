"""The calls of the REST contract, one file for each kind of work."""

from __future__ import annotations

from typing import Any

from api.schemas.errors import ErrorAnswer

_MEANINGS = {
    400: "A parameter is wrong.",
    404: "Nobody is enrolled under this user_id.",
    409: "The person is already enrolled under another user_id; `detail` says who.",
    413: "The body, an image, or the number of images is too large.",
    415: "An image format that is not accepted.",
    422: "The image cannot be used, or no face was found.",
    429: "Too many requests are waiting.",
    503: "The ledger or every vector tier is out of service.",
}


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a call, for its documentation."""
    meanings: dict[int | str, str] = {status: _MEANINGS[status] for status in statuses}
    meanings["default"] = "Any other error."
    return {status: {"model": ErrorAnswer, "description": text} for status, text in meanings.items()}
