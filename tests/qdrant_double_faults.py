"""What can go wrong on the way to a server, and in it: told to the double, and done to each of its calls."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import Any

import grpc

OPEN_TO_ALL = "/qdrant.Qdrant/HealthCheck"  # as on the server, health may be asked for without a key
WRITES = ("Upsert", "Delete")


class Faults:
    """Set the attributes at any time; they hold for calls that begin afterwards."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.api_key = ""  # asked for when set
        self.hanging = False  # calls are accepted and not answered
        self.unavailable = 0  # answered UNAVAILABLE, so many more calls
        self.fail_call: int | None = None  # the Nth call from now on is answered INTERNAL
        self.unfinished = False  # writes are acknowledged, not completed
        self.gate: Callable[[str, Any], None] | None = None  # called with method and request before the work
        self.calls: Counter[str] = Counter()

    def before(self, method: str, request: Any, context: grpc.ServicerContext) -> None:
        """Do to the call what was told; returns when it may go on."""
        with self._lock:
            self.calls[method] += 1
            down = self.unavailable > 0
            self.unavailable -= down
            fails = self.fail_call == 1
            if self.fail_call is not None:
                self.fail_call -= 1
        if down:
            context.abort(grpc.StatusCode.UNAVAILABLE, "told to")
        if fails:
            context.abort(grpc.StatusCode.INTERNAL, "told to")
        while self.hanging and context.is_active():
            time.sleep(0.02)
        if self.gate is not None:
            self.gate(method, request)

    def after(self, method: str, context: grpc.ServicerContext) -> None:
        """Called when the work is done and not yet answered."""

    def refuses_get(self) -> bool:
        """Whether an HTTP request is answered 503."""
        return False

    def allows(self, metadata: Any) -> bool:
        return not self.api_key or dict(metadata).get("api-key") == self.api_key


class Interceptor(grpc.ServerInterceptor):
    """Puts the faults in front of every method, and turns the errors of local mode into status codes."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = continuation(details)
        if handler is None:
            return None
        method = details.method.rpartition("/")[2]

        def serve(request: Any, context: grpc.ServicerContext) -> Any:
            if details.method != OPEN_TO_ALL and not self._faults.allows(details.invocation_metadata):
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid API key")
            self._faults.before(method, request, context)
            try:
                answer = handler.unary_unary(request, context)
            except ValueError as problem:
                context.abort(_status(str(problem)), str(problem))
            self._faults.after(method, context)
            return answer

        return grpc.unary_unary_rpc_method_handler(
            serve,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _status(text: str) -> grpc.StatusCode:
    if "not found" in text:
        return grpc.StatusCode.NOT_FOUND
    return grpc.StatusCode.ALREADY_EXISTS if "already exists" in text else grpc.StatusCode.INVALID_ARGUMENT
