"""Robi asks nobody: whatever it or a library wanted from outside would go through a proxy that counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from core.services.demo import demo_photos
from tests.e2e.conftest import Server, start_server, stop_server

# onnxruntime keeps still where it thinks that it is being tested.
OF_TEST_MACHINES = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "GITLAB_CI", "JENKINS_URL", "TRAVIS", "CIRCLECI")
FIRST_REPORT_S = 6.0  # after which onnxruntime has sent its first report, measured without the setting


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """Who was asked for through the proxy that the environment names; a list to look into."""
    hosts: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            hosts.append(self.path)
            self.send_error(502)

        def do_GET(self) -> None:
            self.do_CONNECT()

        def do_POST(self) -> None:
            self.do_CONNECT()

        def log_message(self, *_: object) -> None: ...

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as environment:
        for name in (*OF_TEST_MACHINES, "ORT_DISABLE_TELEMETRY"):
            environment.delenv(name, raising=False)
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
            environment.setenv(name, f"http://127.0.0.1:{proxy.server_port}")
        environment.setenv("no_proxy", "127.0.0.1")
        yield hosts
    proxy.shutdown()
    proxy.server_close()


@pytest.fixture
def quiet(asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A Robi that is new here: no face pack yet, and a home without anything."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    server = start_server(tmp_path / "data")
    yield server
    stop_server(server)


def test_nobody_outside_is_asked_from_the_first_start_on(
    asked: list[str], quiet: Server, page: Page, tmp_path: Path
) -> None:
    photo = demo_photos()[2].path.read_bytes()
    for call, field, form in (("enroll", "images", {"user_id": "eileen"}), ("verify", "image", {})):
        url = f"{quiet.url}/api/v1/{call}"
        answer = httpx.post(url, data=form, files={field: ("a.png", photo, "image/png")}, timeout=30)
        assert answer.status_code in (200, 201)
    page.goto(f"{quiet.url}/people")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    time.sleep(FIRST_REPORT_S)
    assert asked == []
    kept = [str(path.relative_to(tmp_path)) for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert [path for path in kept if "icrosoft" in path or "onnx" in path] == []


def test_a_socket_of_another_site_makes_robi_ask_nobody(asked: list[str], quiet: Server) -> None:
    """Streamlit by itself would ask for this machine's public address, while everybody else waits."""
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    for origin in ("http://evil.example", "http://localhost:1", "null"):
        for path in ("/_stcore/stream", "/api/v1/live"):
            answer = httpx.get(f"{quiet.url}{path}", headers={**upgrade, "Origin": origin})
            assert answer.status_code == 403
    assert asked == []
