"""What every request gets: an id, a log line, a bounded body, an honest failure."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from api.app import create_api
from api.workers import Workers
from core.domain.errors import Busy, Unavailable
from core.domain.system import Health
from core.telemetry import logs

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    from tests.unit.api.conftest import Photos, Resources


@pytest.mark.parametrize("path", ["/health", "/users", "/api/v1/stats", "/api/v1/nothing"])
def test_a_well_formed_request_id_is_echoed(client: TestClient, path: str) -> None:
    sent = client.get(path, headers={"X-Request-ID": "trace-0001.a_b"})
    assert sent.headers["X-Request-ID"] == "trace-0001.a_b"
    assert sent.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("given", ["short", "x" * 65, "with space", "a\tb-tabbed", "<script>alert"])
def test_a_badly_formed_request_id_is_replaced(client: TestClient, given: str) -> None:
    assert re.fullmatch(
        r"[0-9a-f]{16}", client.get("/health", headers={"X-Request-ID": given}).headers["X-Request-ID"]
    )


def test_the_log_names_the_call_but_nobody(
    client: TestClient, photos: Photos, enroll: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    enroll("zq-secret-id", "Zq Secretname")
    client.get("/api/v1/users/zq-secret-id", headers={"X-Request-ID": "trace-0001"})
    client.get("/users?q=Secretname")
    client.get("/api/v1/zq-secret-id")
    lines = {(r.method, r.route, r.status) for r in caplog.records if r.name == "robi.api.access"}
    assert lines == {
        ("POST", "/api/v1/enroll", 201),
        ("GET", "/api/v1/users/{user_id}", 200),
        ("GET", "/users", 200),
        ("GET", "(no such page)", 404),
    }
    ours = [r.getMessage() for r in caplog.records if r.name.startswith(("robi", "core", "api"))]
    assert any(re.search(r"request_id=trace-0001 .*ms=\d", line) for line in ours)
    assert not any("secret" in line.lower() for line in ours)


@pytest.mark.parametrize(("path", "is_noise"), [("/health", True), ("/metrics", True), ("/users", False)])
def test_what_machines_ask_every_few_seconds_is_neither_logged_nor_traced(
    client: TestClient,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    is_noise: bool,
) -> None:
    traced: list[str] = []
    monkeypatch.setattr("core.telemetry.tracing.begin", lambda _headers, method, _id: traced.append(method))
    caplog.set_level(logging.DEBUG)
    client.get(path)
    lines = [r.levelno for r in caplog.records if r.name == "robi.api.access"]
    assert lines == [logging.DEBUG if is_noise else logging.INFO]
    assert traced == ([] if is_noise else ["GET"])
    assert f'route="{path}"' in client.get("/metrics").text


def test_an_unexpected_failure_says_nothing_about_the_inside(
    client: TestClient,
    resources: Resources,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("inner secret")

    monkeypatch.setattr(resources.service.monitor, "stats", fail)
    answer = client.get("/api/v1/stats")
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert (error["code"], error["request_id"]) == ("internal_error", answer.headers["X-Request-ID"])
    assert "secret" not in answer.text
    logged = next(record for record in caplog.records if record.exc_info)
    assert logged.request_id == error["request_id"]


def test_health_is_503_when_nobody_can_be_recognised(
    client: TestClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources.service.monitor, "health", lambda: Health("unavailable", ()))
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")


def test_a_ledger_out_of_service_is_503(
    client: TestClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        raise Unavailable("ledger_unavailable", "The ledger cannot be used.", "Check the disk.")

    monkeypatch.setattr(resources.service.people, "listing", fail)
    answer = client.get("/users")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "ledger_unavailable")


def test_busy_is_429_and_says_when_to_come_again(
    client: TestClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise Busy("busy", "Robi is busy.", "Try again in a second.")

    monkeypatch.setattr(resources.service.monitor, "stats", fail)
    answer = client.get("/stats")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


def test_looking_up_does_not_wait_behind_recognition(
    client: TestClient, photos: Photos, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    real = resources.service.recognition.verify

    def verify(*args: Any, **options: Any) -> Any:
        assert gate.wait(30)
        return real(*args, **options)

    monkeypatch.setattr(resources.service.recognition, "verify", verify)
    answers: list[int] = []

    def send() -> None:
        answer = client.post("/api/v1/verify", files=[("image", ("p.png", photos.actor))])
        answers.append(answer.status_code)

    senders = [threading.Thread(target=send) for _ in range(20)]
    for sender in senders:
        sender.start()
    for path in ("/health", "/users", "/api/v1/users", "/api/v1/stats"):
        assert client.get(path).status_code == 200
    assert answers == []
    gate.set()
    for sender in senders:
        sender.join()
    assert answers == [200] * 20


def test_workers_refuse_what_does_not_fit_and_recover() -> None:
    gate, workers = threading.Event(), Workers("test", threads=1, waiting=1)

    async def flood() -> list[Any]:
        calls = [asyncio.create_task(workers.run(gate.wait, 10)) for _ in range(3)]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*calls, return_exceptions=True)

    first = asyncio.run(flood())
    assert first[:2] == [True, True]
    assert isinstance(first[2], Busy)
    assert asyncio.run(workers.run(lambda: 7)) == 7
    workers.close()


MULTIPART_START = (
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="p.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\n"
)


def stream(app: Starlette, path: str, headers: list[tuple[bytes, bytes]], start: bytes) -> tuple[int, int]:
    """Send an endless body in pieces of 64 KB; returns the status, and how many bytes were taken first."""
    taken, status = 0, 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        piece = (start if taken == 0 else b"") + bytes(65_536)
        taken += len(piece)
        assert taken < 50_000_000, "nobody stops it"
        return {"type": "http.request", "body": piece, "more_body": True}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver"), *headers],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
    }
    asyncio.run(app(scope, receive, send))
    return status, taken


def test_an_endless_image_is_refused_while_it_arrives(app: Starlette) -> None:
    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    status, taken = stream(app, "/api/v1/verify", headers, MULTIPART_START)
    assert status == 413
    assert taken < 2_200_000  # one image of 2 MB, and no more


def test_an_endless_json_body_is_refused_while_it_arrives(app: Starlette) -> None:
    status, taken = stream(app, "/api/v1/search", [(b"content-type", b"application/json")], b"")
    assert status == 413
    assert taken < 1_200_000


def test_an_announced_length_is_refused_before_anything_is_read(app: Starlette) -> None:
    for path in ("/api/v1/enroll", "/api/v1/verify", "/api/v1/search", "/users"):
        status, taken = stream(app, path, [(b"content-length", b"99000000000")], b"")
        assert (status, taken) == (413, 0), path


def test_photos_stay_in_memory(client: TestClient, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    """A face photo must not lie in a temporary directory, not even for a moment."""
    import tempfile

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a temporary file was opened")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    large = photos.actor + bytes(1_500_000)
    answer = client.post("/api/v1/verify", files=[("image", ("p.png", large))])
    assert answer.status_code == 200, answer.text


def test_the_api_works_unmounted_too(resources: Resources) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from starlette.testclient import TestClient

    api = create_api(lambda: resources)
    with TestClient(api) as client:
        assert client.get("/users").status_code == 200
        assert client.post("/verify", content=bytes(4_000_000)).status_code == 413
    api.state.backend.close()


def test_records_written_on_a_worker_thread_carry_the_requests_id(
    client: TestClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str | None]] = []
    health = resources.service.monitor.health

    def looked() -> Health:
        seen.append((threading.current_thread().name, logs.request_id.get()))
        return health()

    monkeypatch.setattr(resources.service.monitor, "health", looked)
    client.get("/health", headers={"X-Request-ID": "trace-0002"})
    client.get("/health", headers={"X-Request-ID": "trace-0003"})
    assert [request_id for _, request_id in seen] == ["trace-0002", "trace-0003"]
    assert all(thread.startswith("api-lookup") for thread, _ in seen)
    assert logs.request_id.get() is None


def test_requests_are_counted_by_method_route_and_status(client: TestClient) -> None:
    client.get("/api/v1/users/zq-secret-id")
    client.request("BREW", "/zq-secret-page")
    client.request("BREW", "/users")
    text = client.get("/metrics").text
    assert 'robi_http_requests_total{method="GET",route="/api/v1/users/{user_id}",status="404"}' in text
    assert 'robi_http_request_seconds_count{route="/api/v1/users/{user_id}"}' in text
    assert 'method="_OTHER"' in text
    assert "BREW" not in text
    assert "zq" not in text


def test_a_client_that_goes_away_is_no_failure_of_ours(
    app: Starlette, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a body, and the connection is lost; hundreds at a time fill a log with tracebacks otherwise."""
    head = [(b"host", b"testserver"), (b"content-type", b"application/json"), (b"content-length", b"900")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/search",
        "query_string": b"",
        "headers": head,
    }
    arriving = [{"type": "http.request", "body": b'{"embedding": [', "more_body": True}]
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return arriving.pop() if arriving else {"type": "http.disconnect"}

    async def send(message: object) -> None:
        sent.append(message)

    with caplog.at_level(logging.INFO):
        asyncio.run(app(scope, receive, send))
    assert sent == []
    assert [record.name for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert "status=499" in caplog.text
