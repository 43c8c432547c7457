"""OpenTelemetry traces, when an OTLP endpoint is set. Without one nothing is imported and every call returns
at once.

A trace says which call was made, how it went and how long each stage took: no names, no ids of people, no
similarities, no biometric data, and no texts of exceptions.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from core.domain.faces import Analysis
from core.domain.search import SearchResult, SearchTimings, Strategy

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

    from core.config.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

QUEUE = 4096  # spans that wait to be sent; the newest are kept
BATCH = 512
EVERY_MS = 2000.0
FLUSH_S = 2.0  # for what waits when Robi stops; then a
GIVE_UP_S = 0.5  # more for the attempt that is under way

Stage = tuple[str, float, float]
"""A stage of a search: its name, when it began and how long it took, in milliseconds."""


class Tracing:
    """Where spans go. Spans that cannot be sent are dropped; whoever makes them never waits."""

    def __init__(self, endpoint: str, service_name: str, version: str) -> None:
        """`endpoint` is the base URL of an OTLP/HTTP receiver. Further standard variables, such as
        OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER and OTEL_RESOURCE_ATTRIBUTES, hold as well."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource.create({"service.name": service_name, "service.version": version})
        self._exporter: OTLPSpanExporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")
        self._provider: TracerProvider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,
                max_queue_size=QUEUE,
                max_export_batch_size=BATCH,
                schedule_delay_millis=EVERY_MS,
            )
        )
        self.tracer: Tracer = self._provider.get_tracer("robi", version)

    def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        sending = threading.Thread(target=self._provider.shutdown, name="traces-close", daemon=True)
        sending.start()
        sending.join(FLUSH_S)
        if sending.is_alive():
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # ends the pauses between its attempts
            sending.join(GIVE_UP_S)


_tracing: Tracing | None = None


def configure(settings: Settings) -> None:
    """Begin to trace if an endpoint is set."""
    global _tracing
    if settings.otel_exporter_otlp_endpoint:
        from core import __version__

        _tracing = Tracing(settings.otel_exporter_otlp_endpoint, settings.otel_service_name, __version__)


def close() -> None:
    """Send what waits, within three seconds, and trace no more."""
    global _tracing
    if _tracing is not None:
        closing, _tracing = _tracing, None
        closing.close()


def trace_id() -> str | None:
    """Of the trace that is being recorded here, 32 hexadecimal digits."""
    if _tracing is None:
        return None
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


# ---------------------------------------------------------------- spans


class RequestSpan:
    """One API request, from `begin` to `end`; what is traced meanwhile is part of it."""

    def __init__(self, span: Span) -> None:
        from opentelemetry import trace

        self._span = span
        self._current = trace.use_span(
            span, end_on_exit=True, record_exception=False, set_status_on_exception=False
        )
        self._current.__enter__()

    def end(self, method: str, route: str, status: int) -> None:
        """`route` is the template, never the path; `status` is 0 when the answer broke off."""
        from opentelemetry.trace import StatusCode

        self._span.update_name(f"{method} {route}")
        self._span.set_attributes({"http.route": route, "http.response.status_code": status})
        if status >= 500 or not status:
            self._span.set_attribute("error.type", str(status or "broken_off"))
            self._span.set_status(StatusCode.ERROR)
        self._current.__exit__(None, None, None)


def begin(headers: Mapping[str, str], method: str, request_id: str) -> RequestSpan | None:
    """Part of the caller's trace if `headers` name one (W3C `traceparent`). None while tracing is off."""
    if _tracing is None:
        return None
    from opentelemetry.trace import SpanKind

    span = _tracing.tracer.start_span(
        method,
        context=_caller(headers),
        kind=SpanKind.SERVER,
        attributes={"http.request.method": method, "robi.request_id": request_id},
    )
    return RequestSpan(span)


def traced(call: Callable[P, T]) -> Callable[P, T]:
    """A use-case as a span named after it, with the code of the error it raises."""

    @functools.wraps(call)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if _tracing is None:
            return call(*args, **kwargs)
        with _use_case(_tracing.tracer, call.__name__):
            return call(*args, **kwargs)

    return run


def analysed(analysis: Analysis) -> None:
    """Detecting and embedding the faces of a picture, which has ended now."""
    if _tracing is not None and _recording():
        embed = analysis.embed_ms if analysis.faces else 0.0
        began = _now_ms() - analysis.detect_ms - embed
        _leaf("detect", began, analysis.detect_ms, {"robi.faces": len(analysis.faces)})
        if analysis.faces:
            _leaf("embed", began + analysis.detect_ms, embed)


def searched(results: Sequence[SearchResult]) -> None:
    """Searches that were answered now, each with its stages."""
    if _tracing is not None and _recording():
        for result in results:
            _search(_tracing.tracer, result)


def stages(strategy: Strategy | None, timings: SearchTimings) -> tuple[Stage, ...]:
    """When each stage of a search ran: `hybrid` asks both tiers at once, `faiss_first` one after the other.

    Before them the search waited in the queue: it begins when it is submitted.
    """
    from core.domain.objectives import COMPARE, WAITING, stages_of_search

    took = stages_of_search(strategy, timings)
    began = at = took.get(WAITING, 0.0)  # a 1:1 comparison waits for nobody
    found: list[Stage] = []
    for name in ("hot", "cold", "join", "merge", COMPARE):
        if (ms := took.get(name)) is not None:
            at_once = name == "cold" and strategy is Strategy.HYBRID
            found.append((name, began if at_once else at, ms))
            at = max(at, found[-1][1] + ms)
    return tuple(found)


def _search(tracer: Tracer, result: SearchResult) -> None:
    from opentelemetry import trace

    began = _now_ms() - result.timings.total
    attributes = {
        "robi.decision": result.decision.value,
        "robi.tiers": list(result.tiers),
        "robi.degraded": list(result.degraded),
    }
    if result.strategy:
        attributes["robi.strategy"] = result.strategy.value
    span = tracer.start_span("search", start_time=_ns(began), attributes=attributes)
    with trace.use_span(span, end_on_exit=False):
        for name, offset, ms in stages(result.strategy, result.timings):
            _leaf(name, began + offset, ms)
    span.end(_ns(began + result.timings.total))


def _leaf(name: str, began_ms: float, ms: float, attributes: Mapping[str, str | int] | None = None) -> None:
    if _tracing is not None:
        span = _tracing.tracer.start_span(name, start_time=_ns(began_ms), attributes=attributes)
        span.end(_ns(began_ms + ms))


@contextmanager
def _use_case(tracer: Tracer, name: str) -> Iterator[Span]:
    from opentelemetry.trace import StatusCode

    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
        try:
            yield span
        except Exception as problem:
            span.set_attribute("error.type", getattr(problem, "code", type(problem).__name__))
            span.set_status(StatusCode.ERROR)
            raise


def _caller(headers: Mapping[str, str]) -> Context:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(headers)


def _recording() -> bool:
    """Whether there is anything to be part of: a live camera's frames are nobody's request."""
    from opentelemetry import trace

    return trace.get_current_span().is_recording()


def _now_ms() -> float:
    return time.time_ns() / 1e6


def _ns(ms: float) -> int:
    return int(ms * 1e6)
