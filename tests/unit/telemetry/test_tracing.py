"""Traces against a real OTLP receiver; what is in them, and what a receiver that is away costs."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from core.config.settings import Settings
from core.domain.errors import UnsupportedImage
from core.domain.faces import Purpose
from core.domain.search import SearchTimings, Strategy
from core.services.service import RobiService
from core.telemetry import logs, tracing

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STOPPED_WITHIN_S = 3.0


@dataclass
class Received:
    """What an OTLP/HTTP receiver was sent; `hold` keeps it from answering."""

    port: int = 0
    spans: list[Any] = field(default_factory=list)
    resources: list[Any] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    @property
    def by_name(self) -> dict[str, Any]:
        return {span.name: span for span in self.spans}

    def child_of(self, parent: Any) -> set[str]:
        return {span.name for span in self.spans if span.parent_span_id == parent.span_id}


@pytest.fixture
def receiver() -> Iterator[Received]:
    received = Received()
    received.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.hold.wait(30)
            assert self.path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                received.resources.append(resource.resource)
                for scope in resource.scope_spans:
                    received.spans += scope.spans
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    received.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield received
    received.hold.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def traced(receiver: Received) -> Iterator[Callable[[], Received]]:
    """Tracing to the receiver; call it to stop tracing and see what has arrived."""
    tracing.configure(_settings(f"http://127.0.0.1:{receiver.port}"))

    def arrived() -> Received:
        tracing.close()
        return receiver

    yield arrived
    tracing.close()


def _settings(endpoint: str) -> Settings:
    return Settings(_env_file=None, otel_exporter_otlp_endpoint=endpoint, otel_service_name="robi-test")


def attributes(span: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in span.attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    found = getattr(value, kind)
    return [_value(item) for item in found.values] if kind == "array_value" else found


def test_nothing_is_loaded_without_an_endpoint():
    code = """
import sys
from core.telemetry import tracing
from core.config.settings import Settings
import core.services.service, api.app
tracing.configure(Settings(_env_file=None))
assert tracing.begin({}, "GET", "x") is None and tracing.trace_id() is None
sys.exit(any(name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")) for name in sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_verification_is_one_trace_with_its_stages(traced, service: RobiService, photos):
    service.enrollment.enroll("zq-secret-id", "Zq Secretname", [("zq-photo.png", photos["hanks"])])
    request = tracing.begin({"traceparent": CALLER}, "POST", "req-00000001")
    assert tracing.trace_id() == CALLER[3:35]
    service.recognition.verify(photos["hanks"])
    request.end("POST", "/api/v1/verify", 200)
    assert tracing.trace_id() is None
    seen = traced()

    root = seen.by_name["POST /api/v1/verify"]
    assert root.trace_id.hex() == CALLER[3:35]
    assert root.parent_span_id.hex() == CALLER[36:52]
    assert attributes(root) == {
        "http.request.method": "POST",
        "http.route": "/api/v1/verify",
        "http.response.status_code": 200,
        "robi.request_id": "req-00000001",
    }
    assert seen.child_of(root) == {"verify"}
    use_case = seen.by_name["verify"]
    assert seen.child_of(use_case) == {"detect", "embed", "search"}
    search = next(s for s in seen.spans if s.name == "search" and s.parent_span_id == use_case.span_id)
    assert seen.child_of(search) == {"hot", "merge", "join"}, "the cache holds everybody"
    assert attributes(search)["robi.strategy"] == "hybrid"
    assert attributes(search)["robi.tiers"] == ["faiss"]
    assert {attribute.key: _value(attribute.value) for attribute in seen.resources[0].attributes}[
        "service.name"
    ] == "robi-test"
    for span in seen.spans:
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        if span.parent_span_id == use_case.span_id:
            assert use_case.start_time_unix_nano - 1e6 <= span.start_time_unix_nano
            assert span.end_time_unix_nano <= use_case.end_time_unix_nano + 1e6
    assert "enroll" in seen.by_name


def test_traces_hold_no_names_ids_photos_or_embeddings(traced, service: RobiService, photos):
    service.enrollment.enroll("zq-secret-id", "Zq Secretname", [("zq-photo.png", photos["hanks"])])
    service.recognition.verify(photos["hanks"], user_id="zq-secret-id")
    service.recognition.identify(photos["group"])
    with pytest.raises(UnsupportedImage):
        service.enrollment.enroll("zq-secret-id", "Zq Secretname", [("zq-photo.png", b"no image")])
    service.erasures.erase("zq-secret-id")
    seen = traced()
    assert {"enroll", "verify", "identify", "erase"} <= seen.by_name.keys()
    everything = " ".join(map(str, seen.spans))
    assert "zq" not in everything.lower()
    assert "secret" not in everything.lower()
    known = {"robi.faces", "robi.strategy", "robi.decision", "robi.tiers", "robi.degraded", "error.type"}
    assert {key for span in seen.spans for key in attributes(span)} <= known
    assert not any(span.events for span in seen.spans)
    failed = [attributes(span)["error.type"] for span in seen.spans if span.status.code == 2]
    assert failed == ["unsupported_image"]


def test_a_frame_of_a_camera_is_nobodys_request(traced, service: RobiService, photos):
    analysis = service.pictures.analyze(service.pictures.decode(photos["hanks"]), Purpose.VERIFY)
    service.matching.recognise(analysis.faces, service.options.checked())
    assert traced().spans == []


def test_a_server_error_and_a_broken_answer_are_errors(traced):
    for status in (503, 0):
        tracing.begin({}, "GET", "req-00000002").end("GET", "/health", status)
    tracing.begin({"traceparent": "nonsense"}, "GET", "req-00000003").end("GET", "/users", 404)
    spans = traced().spans
    assert [attributes(span).get("error.type") for span in spans] == ["503", "broken_off", None]
    assert [span.status.code for span in spans] == [2, 2, 0]
    assert not any(span.parent_span_id for span in spans)


@pytest.mark.parametrize(
    ("strategy", "timings", "stages"),
    [
        (
            Strategy.HYBRID,
            SearchTimings(total=10.0, hot=2.0, cold=5.0, merge=1.0, join=1.5),
            [("hot", 2.5, 2.0), ("cold", 2.5, 5.0), ("join", 7.5, 1.5), ("merge", 9.0, 1.0)],
        ),
        (
            Strategy.FAISS_FIRST,
            SearchTimings(total=10.0, hot=2.0, cold=5.0, merge=1.0, join=1.0),
            [("hot", 1.0, 2.0), ("cold", 3.0, 5.0), ("join", 8.0, 1.0), ("merge", 9.0, 1.0)],
        ),
        (Strategy.QDRANT_ONLY, SearchTimings(total=3.0, cold=3.0), [("cold", 0.0, 3.0)]),
    ],
)
def test_stages_end_with_the_search_and_begin_after_the_queue(strategy, timings, stages):
    assert [tuple(map(pytest.approx, stage[1:])) for stage in tracing.stages(strategy, timings)] == [
        stage[1:] for stage in stages
    ]
    assert [stage[0] for stage in tracing.stages(strategy, timings)] == [stage[0] for stage in stages]


def test_a_receiver_that_hangs_holds_up_neither_requests_nor_the_stop(traced, receiver: Received):
    receiver.hold.clear()
    for number in range(3 * tracing.QUEUE):  # more than may wait: the others are dropped
        tracing.begin({}, "GET", f"req-{number:08}").end("GET", "/health", 200)
    started = time.monotonic()
    tracing.close()
    assert time.monotonic() - started < STOPPED_WITHIN_S
    assert tracing.begin({}, "GET", "x") is None


@pytest.mark.slow
def test_a_receiver_that_is_away_is_said_once_and_delays_no_stop():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    code = f"""
import time
from core.telemetry import logs, tracing
from core.config.settings import Settings
endpoint = "http://127.0.0.1:{port}"
settings = Settings(_env_file=None, otel_exporter_otlp_endpoint=endpoint, robi_log_format="json")
logs.configure(settings)
tracing.configure(settings)
for number in range(20):
    tracing.begin({{}}, "GET", "req-00000001").end("GET", "/health", 200)
    time.sleep(0.25)
started = time.monotonic()
tracing.close()
print(time.monotonic() - started)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < STOPPED_WITHIN_S
    (line,) = done.stderr.splitlines()
    said = json.loads(line)
    assert said["level"] in ("WARNING", "ERROR")
    assert said["logger"].startswith("opentelemetry")


def test_a_record_names_the_trace_it_was_written_in(traced):
    request = tracing.begin({"traceparent": CALLER}, "GET", "req-00000001")
    record = logging.LogRecord("robi", logging.INFO, "", 0, "said", (), None)
    line = json.loads(logs.json_formatter().format(record))
    request.end("GET", "/health", 200)
    assert line["trace_id"] == CALLER[3:35]
