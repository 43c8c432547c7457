"""What can come of a call to a Qdrant server, in one word each and in sentences for operators."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import grpc  # type: ignore[import-untyped,unused-ignore]
import httpx
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from core.domain.errors import StartError
from core.store.contract import TierDown

RETRIED = ("unavailable", "busy", "aborted")  # quick to fail; a deadline is not waited for twice
NO_ANSWER = ("unavailable", "deadline", "untrusted", "tls", "no_grpc")  # anything else is an answer
FAILURES = (grpc.RpcError, ApiException, QdrantException, httpx.HTTPError, OSError)

_KINDS = {
    grpc.StatusCode.UNAUTHENTICATED: "unauthorized",
    grpc.StatusCode.PERMISSION_DENIED: "unauthorized",
    grpc.StatusCode.DEADLINE_EXCEEDED: "deadline",
    grpc.StatusCode.CANCELLED: "unavailable",
    grpc.StatusCode.UNAVAILABLE: "unavailable",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "busy",
    grpc.StatusCode.ABORTED: "aborted",
    grpc.StatusCode.NOT_FOUND: "not_found",
}
_HTTP_KINDS = {401: "unauthorized", 403: "unauthorized", 404: "not_found", 429: "busy"}
_MESSAGES = {
    "deadline": "Qdrant does not answer in time.",
    "unavailable": "Qdrant cannot be reached.",
    "tls": "The Qdrant server speaks TLS: QDRANT_URL must begin with https://.",
    "no_grpc": "Qdrant answers over HTTP, but not at its gRPC port: check QDRANT_GRPC_PORT, and firewalls.",
    "busy": "Qdrant is overloaded.",
    "not_found": "The Qdrant collection is gone.",
    "unfinished": "Qdrant has not finished a change.",
}


class CallFailed(TierDown):
    """`kind` says how, as counted in `info()`."""

    def __init__(self, kind: str, message: str | None = None) -> None:
        super().__init__(message or _MESSAGES.get(kind, "Qdrant refused a request."))
        self.kind = kind


class Hopeless(CallFailed):
    """Not with these settings: an error at start, and a named state when it comes up later."""

    def __init__(self, kind: str, error: StartError) -> None:
        super().__init__(kind, error.message)
        self.error = error


def kind_of(problem: BaseException) -> str:
    """What happened, in one word. The texts of these errors can quote requests, which hold embeddings."""
    if isinstance(problem, grpc.RpcError):
        kind = _KINDS.get(problem.code(), "refused") if isinstance(problem, grpc.Call) else "unavailable"
        return "untrusted" if kind == "unavailable" and _handshake_failed(problem) else kind
    if isinstance(problem, UnexpectedResponse):
        status = problem.status_code or 500
        return _HTTP_KINDS.get(status, "unavailable" if status >= 500 else "refused")
    if isinstance(problem, ResourceExhaustedResponse):
        return "busy"
    chain = list(_causes(problem))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in chain):
        return "untrusted"
    if any(isinstance(cause, httpx.TimeoutException | TimeoutError) for cause in chain):
        return "deadline"
    return "unavailable"


def _handshake_failed(problem: grpc.RpcError) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(problem.details() if isinstance(problem, grpc.Call) else "")


def _causes(problem: BaseException | None) -> Iterator[BaseException]:
    for _ in range(8):
        if problem is None:
            return
        yield problem
        inner = problem.source if isinstance(problem, ResponseHandlingException) else None
        problem = inner or problem.__cause__ or problem.__context__


def failed(kind: str) -> CallFailed:
    if kind == "unauthorized":
        return Hopeless(kind, _unauthorized())
    if kind == "untrusted":
        return Hopeless(kind, _untrusted())
    return CallFailed(kind)


def _unauthorized() -> StartError:
    return StartError(
        "qdrant_unauthorized",
        "The Qdrant server refuses the API key, or asks for one.",
        "Set QDRANT_API_KEY to a key that may read and write.",
    )


def _untrusted() -> StartError:
    return StartError(
        "qdrant_untrusted",
        "The certificate of the Qdrant server is not trusted.",
        "Set QDRANT_CA_CERT to the certificate of the authority that signed it, and QDRANT_URL to its name.",
    )
