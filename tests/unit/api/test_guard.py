"""Who may speak to Robi: under which name, from which page."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from api.guard import Guard, bare_host

HOSTS = ("localhost", "127.0.0.1", "[::1]", "Robi.Example")
FORM = ("POST", "/api/v1/enroll")
PAGE = ("GET", "/people")
ANY_PATH = ("/", "/people", "/users", "/api/v1/enroll", "/media/x", "/_stcore/upload_file/a/b", "/no/such")


def ask(
    kind: str, method: str, path: str, *headers: tuple[str, str], hosts: tuple[str, ...] = HOSTS
) -> tuple[bool, list[dict[str, Any]], dict[str, Any]]:
    """Whether the request got past the guard, what was sent back, and the scope that arrived behind it."""
    seen: list[dict[str, Any]] = []
    sent: list[dict[str, Any]] = []

    async def behind(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": kind, "method": method, "path": path, "headers": raw}
    asyncio.run(Guard(behind, hosts)(scope, lambda: None, send))
    return bool(seen), sent, seen[0] if seen else {}


def passes(method: str, path: str, *headers: tuple[str, str]) -> bool:
    return ask("http", method, path, *headers)[0]


def opens(*headers: tuple[str, str], path: str = "/_stcore/stream") -> bool:
    return ask("websocket", "GET", path, *headers)[0]


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LOCALHOST:1", "127.0.0.1:8000", "[::1]", "[::1]:80", "robi.example.:8"],
)
def test_programs_and_browsers_reach_every_path_under_an_allowed_name(host: str) -> None:
    for path in ANY_PATH:
        for method in ("GET", "POST", "PUT", "DELETE"):
            assert passes(method, path, ("host", host))
    assert opens(("host", host))


@pytest.mark.parametrize(
    "hosts",
    [
        (),
        ("",),
        ("rebound.example:8000",),
        ("localhost.rebound.example",),
        ("localhost@rebound.example",),
        ("rebound.example/localhost",),
        ("localhost:80x",),
        ("[::1",),
        ("localhost", "localhost"),
        ("localhost", "rebound.example"),
        ("0.0.0.0:8000",),
        ("127.0.0.2",),
    ],
)
def test_any_other_name_is_refused_on_every_path(hosts: tuple[str, ...]) -> None:
    headers = [("host", host) for host in hosts]
    for path in ANY_PATH:
        passed, sent, _ = ask("http", "GET", path, *headers)
        assert not passed
        assert sent[0]["status"] == 421
    assert not opens(*headers)


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://localhost:3000",
        "http://localhost",
        "null",
        "",
        "file://",
        "x" * 99,
    ],
)
def test_another_origin_is_refused_whatever_it_asks(origin: str) -> None:
    headers = (("host", "localhost:8000"), ("origin", origin))
    for path in ANY_PATH:
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
            passed, sent, _ = ask("http", method, path, *headers)
            assert not passed
            assert sent[0]["status"] == 403
    assert not opens(*headers)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_what_another_page_embeds_fetches_or_submits_is_refused(site: str) -> None:
    host = ("host", "localhost:8000")
    sent_by = ("sec-fetch-site", site)
    for mode, dest in [
        ("no-cors", "image"),
        ("cors", "empty"),
        ("navigate", "iframe"),
        ("websocket", "empty"),
    ]:
        how = (("sec-fetch-mode", mode), ("sec-fetch-dest", dest))
        assert not passes("GET", "/users", host, sent_by, *how)
        assert not opens(host, sent_by, *how)
    link = (("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"))
    assert not passes(*FORM, host, sent_by, *link)
    assert not opens(host, sent_by, *link)
    assert passes(*PAGE, host, sent_by, *link)  # somebody follows a link to Robi


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_our_own_pages_do_everything(site: str) -> None:
    headers = (("host", "localhost:8000"), ("sec-fetch-site", site), ("origin", "http://localhost:8000"))
    assert passes(*FORM, *headers)
    assert opens(*headers)


def test_a_second_origin_does_not_hide_the_first() -> None:
    both = (("origin", "http://evil.example"), ("origin", "http://localhost:8000"))
    assert not passes(*FORM, ("host", "localhost:8000"), *both)
    assert not opens(("host", "localhost:8000"), *reversed(both))


def test_a_socket_arrives_with_the_origin_that_streamlit_compares_letter_by_letter() -> None:
    headers = (("host", "Robi.example:80"), ("origin", "http://robi.example"))
    _, _, scope = ask("websocket", "GET", "/_stcore/stream", *headers)
    assert dict(scope["headers"])[b"origin"] == b"http://Robi.example:80"


def test_a_person_is_told_in_a_page_and_a_program_in_json() -> None:
    _, sent, _ = ask("http", "GET", "/", ("host", "x"), ("accept", "text/html,*/*"))
    assert b"ROBI_ALLOWED_HOSTS" in sent[1]["body"]
    _, sent, _ = ask("http", "GET", "/users", ("host", "x"))
    error = json.loads(sent[1]["body"])["error"]
    assert error["code"] == "host_not_allowed"
    assert dict(sent[0]["headers"])[b"x-request-id"].decode() == error["request_id"]


def test_hosts_are_compared_by_name_alone() -> None:
    assert [bare_host(h) for h in ("::1", "[::1]:8000", "A.b.:80", "", "a b", "x/y")] == [
        "::1",
        "::1",
        "a.b",
        "",
        "a b",
        "",
    ]
