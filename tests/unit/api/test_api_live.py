"""The live camera's WebSocket, with real sessions and real frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from starlette.websockets import WebSocketDisconnect

from api.guard import same_origin
from core.domain.errors import Busy
from core.domain.recognition import VerifyOptions
from core.domain.search import Strategy
from core.live import sessions as registry

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from tests.unit.api.conftest import Photos, Resources

ORIGIN = {"origin": "http://testserver"}
OPTIONS = VerifyOptions(Strategy.HYBRID, 0.4)


@pytest.fixture(scope="module")
def frame(photos: Photos) -> bytes:
    image = cv2.imdecode(np.frombuffer(photos.astronaut, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".jpg", image)[1].tobytes()


def connect(client: TestClient, headers: dict[str, str] | None = None) -> Any:
    return client.websocket_connect("/api/v1/live", headers=ORIGIN if headers is None else headers)


def said(socket: Any) -> dict[str, Any]:
    return json.loads(socket.receive_text())


def hello(socket: Any, token: str) -> None:
    socket.send_text(json.dumps({"token": token}))
    assert said(socket) == {"type": "ready"}


def test_frames_are_answered_one_by_one(
    client: TestClient, resources: Resources, enroll: Callable[..., None], frame: bytes
) -> None:
    enroll()
    session = resources.live.open_verify(OPTIONS)
    with connect(client) as socket:
        hello(socket, session.token)
        for _ in range(3):
            socket.send_bytes(frame)
            answer = said(socket)
            assert answer["type"] == "result"
            face = answer["faces"][0]
            assert all(0 <= part <= 1 for part in face["box"])
        assert (face["label"], face["decision"]) == ("Ana Ruiz", "match")
    resources.live.close(session.token)


def test_a_closed_socket_gives_its_place_back(
    client: TestClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = resources.live.open_verify(OPTIONS)
    assert resources.live.cameras_in_use() == 0
    with connect(client) as socket:
        hello(socket, session.token)
        assert resources.live.cameras_in_use() == 1
        monkeypatch.setattr(registry, "RELEASE_S", 0.0)
        assert resources.live.cameras_in_use() == 1
        assert resources.live.get(session.token) is session
    assert resources.live.cameras_in_use() == 0
    assert resources.live.get(session.token) is None


def test_a_page_that_is_reloaded_for_ever_always_gets_a_camera(
    client: TestClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "MAX_SESSIONS", 4)
    monkeypatch.setattr(registry, "LEFT_S", 0.0)
    with connect(client) as stays:
        kept = resources.live.open_verify(OPTIONS)
        hello(stays, kept.token)
        for _ in range(10):
            session = resources.live.open_verify(OPTIONS)
            with connect(client) as socket:
                hello(socket, session.token)
        assert resources.live.get(kept.token) is kept
        monkeypatch.setattr(registry, "LEFT_S", 60.0)
        with pytest.raises(Busy):
            resources.live.open_verify(OPTIONS)


def test_a_bad_frame_is_answered_and_the_session_goes_on(
    client: TestClient, resources: Resources, frame: bytes
) -> None:
    session = resources.live.open_verify(OPTIONS)
    with connect(client) as socket:
        hello(socket, session.token)
        for data, code in ((b"\x00no jpeg", "not_an_image"), (bytes(1_000_001), "image_too_large")):
            socket.send_bytes(data)
            answer = said(socket)
            assert (answer["type"], answer["code"]) == ("error", code)
            assert answer["message"]
            assert answer["hint"]
        socket.send_bytes(frame)
        assert said(socket)["type"] == "result"
    resources.live.close(session.token)


def test_a_text_is_no_frame(client: TestClient, resources: Resources, frame: bytes) -> None:
    session = resources.live.open_enroll()
    with connect(client) as socket:
        hello(socket, session.token)
        socket.send_text("dance")
        assert said(socket)["code"] == "bad_parameter"
        socket.send_bytes(frame)
        assert said(socket)["type"] == "result"
    resources.live.close(session.token)


@pytest.mark.parametrize("first", ['{"token": "wrong"}', '{"token": 7}', "{}", "[]", "rubbish", "x" * 5_000])
def test_without_a_live_session_the_socket_is_closed(client: TestClient, first: str) -> None:
    with connect(client) as socket:
        socket.send_text(first)
        assert said(socket)["code"] == "unknown_session"
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text()


def test_a_session_that_ends_ends_the_socket(client: TestClient, resources: Resources, frame: bytes) -> None:
    session = resources.live.open_verify(OPTIONS)
    with connect(client) as socket:
        hello(socket, session.token)
        resources.live.close(session.token)
        socket.send_bytes(frame)
        said(socket)
        assert said(socket)["code"] == "unknown_session"
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text()


def test_the_newest_socket_takes_a_session_over(
    client: TestClient, resources: Resources, frame: bytes
) -> None:
    session = resources.live.open_verify(OPTIONS)
    with connect(client) as old:
        hello(old, session.token)
        with connect(client) as new:
            hello(new, session.token)
            old.send_bytes(frame)
            assert said(old)["type"] == "result"
            assert said(old)["code"] == "unknown_session"
            new.send_bytes(frame)
            assert said(new)["type"] == "result"
    resources.live.close(session.token)


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://testserver:81"}],
    ids=["foreign", "null", "other port"],
)
def test_other_origins_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    with pytest.raises(WebSocketDisconnect), connect(client, headers):
        pass


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://localhost:8000", "localhost:8000", True),
        ("https://robi.example", "robi.example", True),
        ("https://robi.example", "robi.example:443", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://ROBI.example", "robi.example", True),
        ("http://robi.example", "robi.example:8000", False),
        ("http://robi.example.evil", "robi.example", False),
        ("http://evil@robi.example:80x", "robi.example", False),
        ("file://", "robi.example", False),
        ("http://", "", False),
    ],
)
def test_same_origin(origin: str, host: str, same: bool) -> None:
    assert same_origin(origin, host) is same
