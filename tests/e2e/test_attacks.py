"""Pages of other sites, played in a real browser: what they send, read and open here is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page

from core.services.demo import demo_photos
from tests.e2e.conftest import Server, start_server, stop_server

ATTACK = """<!doctype html><iframe name=hidden></iframe>
<form id=form method=post enctype=multipart/form-data target=hidden action="{robi}/api/v1/enroll">
<input name=user_id value=intruder><input type=file name=images></form>
<script>
const socket = (path) => new Promise((done) => {{
  const opened = new WebSocket("{robi}".replace("http", "ws") + path);
  opened.onopen = () => done("open"); opened.onerror = () => done("refused");
}});
const read = (path, how) => fetch("{robi}" + path, how).then(
  (answer) => answer.type === "opaque" ? "opaque" : "read " + answer.status, () => "refused");
window.attack = async () => {{
  const photo = await (await fetch("/photo")).blob();
  const files = new DataTransfer();
  files.items.add(new File([photo], "a.png", {{type: "image/png"}}));
  document.querySelector("[type=file]").files = files.files;
  const answered = new Promise((done) => document.querySelector("iframe").onload = done);
  document.querySelector("form").submit();
  await answered;
  return {{
    users: await read("/users"),
    image: await read("/users", {{mode: "no-cors"}}),
    erase: await read("/api/v1/users/eileen", {{method: "DELETE"}}),
    rename: await read("/api/v1/users/eileen", {{method: "POST", mode: "no-cors", body: "x"}}),
    dashboard: await socket("/_stcore/stream"),
    camera: await socket("/api/v1/live"),
  }};
}};
</script>"""
REBIND = """async () => {
  const socket = (path) => new Promise((done) => {
    const opened = new WebSocket(location.origin.replace("http", "ws") + path);
    opened.onopen = () => done("open"); opened.onerror = () => done("refused");
  });
  const status = async (path, how) => (await fetch(path, how)).status;
  return [await status("/users"), await status("/health"), await status("/people"), await status("/media/x"),
    await status("/api/v1/users/eileen", {method: "DELETE"}), await socket("/_stcore/stream"),
    await socket("/api/v1/live")];
}"""


@pytest.fixture
def victim(server: Server) -> Server:
    """A Robi that knows Eileen."""
    photo = demo_photos()[2].path
    answer = httpx.post(
        f"{server.url}/api/v1/enroll",
        data={"user_id": "eileen"},
        files={"images": ("a.png", photo.read_bytes(), "image/png")},
        timeout=30,
    )
    assert answer.status_code == 201
    return server


@contextmanager
def serving(page: str) -> Iterator[int]:
    """The attacker's own site on a port of this machine."""
    photo = demo_photos()[1].path.read_bytes()

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, kind = (photo, "image/png") if self.path == "/photo" else (page.encode(), "text/html")
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    site = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield site.server_port
    site.shutdown()
    site.server_close()


@pytest.fixture
def stranger(launch: Callable[..., Browser], chromium: str) -> Iterator[Page]:
    """A browser for which every name under `.example` leads to this machine."""
    browser = launch().browser_type.launch(
        executable_path=chromium, args=["--no-sandbox", "--host-resolver-rules=MAP *.example 127.0.0.1"]
    )
    yield browser.new_page()
    browser.close()


def people(server: Server) -> list[str]:
    return [user["user_id"] for user in httpx.get(f"{server.url}/users").json()["users"]]


@pytest.mark.parametrize("site", ["evil.example", "127.0.0.1", "localhost"])
def test_a_page_of_another_site_does_nothing_here(victim: Server, stranger: Page, site: str) -> None:
    with serving(ATTACK.format(robi=victim.url)) as port:
        stranger.goto(f"http://{site}:{port}/")
        found = stranger.evaluate("window.attack()")
    assert found["users"] == found["erase"] == found["dashboard"] == found["camera"] == "refused"
    assert found["image"] in ("opaque", "refused")  # a refusal that the page cannot read either
    assert people(victim) == ["eileen"]


def test_a_name_that_is_made_to_lead_here_reads_nothing(victim: Server, stranger: Page) -> None:
    port = urlsplit(victim.url).port
    refused = stranger.goto(f"http://rebound.example:{port}/people")
    assert refused is not None
    assert refused.status == 421
    assert "does not answer under this name" in stranger.inner_text("body")
    assert stranger.evaluate(REBIND) == [421, 421, 421, 421, 421, "refused", "refused"]
    assert people(victim) == ["eileen"]


def test_a_name_can_be_allowed(tmp_path_factory: pytest.TempPathFactory, stranger: Page) -> None:
    server = start_server(
        tmp_path_factory.mktemp("named") / "data", ROBI_ALLOWED_HOSTS="127.0.0.1,robi.example"
    )
    try:
        stranger.goto(f"http://robi.example:{urlsplit(server.url).port}/people")
        stranger.get_by_role("heading", level=1).wait_for()
    finally:
        stop_server(server)


def test_a_foreign_socket_makes_robi_ask_nobody(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Streamlit would look this machine's public address up; here that would be a request to a proxy."""
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(self.path)
            self.send_error(502)

        def do_GET(self) -> None:
            self.do_CONNECT()

        def log_message(self, *_: object) -> None: ...

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    there = f"http://127.0.0.1:{proxy.server_port}"
    server = start_server(
        tmp_path_factory.mktemp("asked") / "data", http_proxy=there, https_proxy=there, no_proxy="127.0.0.1"
    )
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    try:
        for origin in ("http://evil.example", "http://localhost:1", "null"):
            for path in ("/_stcore/stream", "/api/v1/live"):
                answer = httpx.get(f"{server.url}{path}", headers={**upgrade, "Origin": origin})
                assert answer.status_code == 403
    finally:
        stop_server(server)
        proxy.shutdown()
        proxy.server_close()
    assert asked == []


def test_edges_are_answered_in_robis_own_words(peopled: Server) -> None:
    with httpx.Client(base_url=peopled.url) as client:
        for path in ("/health", "/readyz", "/livez", "/users", "/stats", "/metrics", "/api/v1/users"):
            whole, head = client.get(path), client.head(path)
            assert (whole.status_code, head.status_code, head.content) == (200, 200, b""), path
        for path in ("/api", "/api/v2/users", "/api/v1/nothing", "/api/v1/users/", "/health/", "/healthz"):
            assert client.get(path).status_code == 404, path
            assert client.get(path).json()["error"]["code"] == "unknown_page", path
        lost = client.get("/nowhere", headers={"Accept": "text/html"})
        assert (lost.status_code, "There is no such page" in lost.text) == (404, True)
        assert client.get("/people/").headers["location"] == "/people"
        assert client.post("/health").json()["error"]["code"] == "method_not_allowed"
        shown = client.get("/").headers
        assert "frame-ancestors 'self'" in shown["content-security-policy"]
        assert shown["cross-origin-opener-policy"] == "same-origin"
        assert client.get("/media/none").headers["cache-control"] == "no-store"


def test_both_loopback_addresses_are_served(peopled: Server) -> None:
    port = urlsplit(peopled.url).port
    assert httpx.get(f"http://[::1]:{port}/health").status_code == 200
