from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from dashboard import connections
from dashboard.protocol import LONGEST_HEAD, BoundedProtocol
from dashboard.server import BURST, BoundedServer, most_connections

PART = b"x" * 16_384
MOST = 20
LONG = bytes(30_000_000)  # more than the system's buffers take
HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
HALF_A_BODY = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf"
SOCKET = (
    b"GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@dataclass(frozen=True)
class Running:
    server: BoundedServer
    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def healthy(self) -> bool:
        with self.connect() as connection:
            connection.sendall(HEALTH)
            return connection.recv(1000).startswith(b"HTTP/1.1 200 ")

    def wait_for(self, count: int) -> None:
        """Until the server has so many connections."""
        deadline = time.monotonic() + 20
        while len(self.server.server_state.connections) != count:
            assert time.monotonic() < deadline, len(self.server.server_state.connections)
            time.sleep(0.02)


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
    elif scope["path"] == "/long":
        await PlainTextResponse(LONG)(scope, receive, send)
    elif scope["path"] == "/health":
        await PlainTextResponse("ok")(scope, receive, send)
    else:
        body = await Request(scope, receive).body()
        await PlainTextResponse(str(len(body)))(scope, receive, send)


@contextlib.contextmanager
def serving(most: int, **options: object) -> Iterator[Running]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = BoundedServer(
        uvicorn.Config(
            _app,
            http=BoundedProtocol,
            ws="websockets-sansio",
            lifespan="off",
            log_config=None,
            backlog=BURST,
            timeout_graceful_shutdown=1,
            **options,
        ),
        most,
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield Running(server, listener.getsockname()[1])
    server.should_exit = True
    thread.join(20)
    listener.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(100) as running:
        yield running.port


@pytest.fixture
def running() -> Iterator[Running]:
    with serving(MOST, ws_ping_interval=0.3, ws_ping_timeout=0.3) as running:
        yield running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_S", "BODY_GRACE_S", "STALLED_S"):
        monkeypatch.setattr(connections, name, 0.5)


def everything(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            answer += part
    return answer


def endless(port: int, begin: bytes) -> bytes:
    """What the server answers to this beginning and parts without end; it must not take 200 of them."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(begin)
        try:
            for _ in range(200):
                connection.sendall(PART)
                time.sleep(0.001)
        except ConnectionError:
            return b"closed"
        connection.settimeout(2)
        return connection.recv(1000)


@pytest.mark.parametrize(
    "begin",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: ",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ",
    ],
)
def test_a_head_without_end_is_refused(port: int, begin: bytes) -> None:
    answer = endless(port, begin)
    assert answer == b"closed" or answer.startswith(b"HTTP/1.1 400 ")


def test_a_body_may_be_longer_than_a_head(port: int) -> None:
    body = b"x" * (20 * LONGEST_HEAD)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for _ in range(3):  # one after the other over one connection
            connection.sendall(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            answer = connection.recv(1000)
            while not answer.endswith(b"\r\n\r\n" + str(len(body)).encode()):
                answer += connection.recv(1000)
            assert answer.startswith(b"HTTP/1.1 200 ")


def test_what_is_no_http_is_told_so_in_our_words(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"\x16\x03\x01 what a browser says to https\r\n\r\n")
        head, _, body = everything(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    error = json.loads(body)["error"]
    assert error["code"] == "bad_parameter"
    assert error["message"].endswith("HTTP.")


# ------------------------------------------------------------ time


@pytest.mark.parametrize("before", [b"", HEALTH])
@pytest.mark.parametrize("begin", [b"", b"GET / HT", HALF_A_BODY])
def test_a_request_that_does_not_arrive_is_given_up(
    impatient: None, running: Running, before: bytes, begin: bytes
) -> None:
    with running.connect() as connection:
        if before:
            connection.sendall(before)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        connection.sendall(begin)
        assert (b"request_timeout" in everything(connection)) is bool(begin)
    running.wait_for(0)


def test_a_body_that_trickles_is_given_up(impatient: None, running: Running) -> None:
    with running.connect() as connection, contextlib.suppress(ConnectionError):
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n")
        for _ in range(400):
            connection.sendall(b"x" * 100)
            time.sleep(0.05)
        pytest.fail("it was waited for")
    running.wait_for(0)


def test_a_slow_body_that_keeps_the_rate_is_waited_for(impatient: None, running: Running) -> None:
    parts = 40
    with running.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (parts * len(PART)))
        for _ in range(parts):
            connection.sendall(PART)
            time.sleep(0.1)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_an_answer_that_nobody_takes_is_dropped(impatient: None, running: Running) -> None:
    with running.connect() as connection:
        connection.sendall(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        running.wait_for(1)
        running.wait_for(0)


def test_a_socket_whose_client_is_gone_is_closed(running: Running) -> None:
    """It takes a ping to notice: a machine that was switched off says no goodbye."""
    with running.connect() as connection:
        connection.sendall(SOCKET)
        assert connection.recv(1000).startswith(b"HTTP/1.1 101 ")
        running.wait_for(0)


def test_what_the_server_had_no_time_to_read_is_not_held_against_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = 0.0
    monkeypatch.setattr(connections, "time", SimpleNamespace(monotonic=lambda: clock))
    watch = connections.Connections(MOST)
    client = Client()
    watch.admit(client)  # type: ignore[arg-type]
    clock = 3600.0  # the machine slept
    watch.sweep()
    assert not client.given_up
    for _ in range(12):
        clock += 1.0
        watch.sweep()
    assert client.given_up


class Client:
    given_up = False

    def give_up(self) -> None:
        self.given_up = True


# ------------------------------------------------------------ number


@pytest.mark.parametrize("begin", [b"", b"GET / HT", HALF_A_BODY])
def test_the_longest_silent_makes_room(running: Running, begin: bytes) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(running.connect()) for _ in range(3 * MOST)]
        for connection in silent:
            with contextlib.suppress(ConnectionError):
                connection.sendall(begin)
        assert running.healthy()
        running.wait_for(MOST - 1)
        silent[0].settimeout(20)
        assert everything(silent[0]) == b""
        silent[-1].settimeout(0.01)
        with pytest.raises(TimeoutError):
            silent[-1].recv(1)


def test_sockets_leave_half_of_the_places(running: Running) -> None:
    with contextlib.ExitStack() as stack:
        answers = []
        for _ in range(MOST):
            connection = stack.enter_context(running.connect())
            connection.sendall(SOCKET)
            answers.append(connection.recv(1000).split()[1])
        assert answers[: MOST // 2] == [b"101"] * (MOST // 2)
        assert set(answers[MOST // 2 :]) <= {b"429", b"101"}  # one that does not pong may have gone meanwhile
        assert b"429" in answers
        assert running.healthy()


def test_there_are_fewer_places_than_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, hard, most in ((1024, 1024, 768), (256, 256, 128), (1024, 1 << 20, 4096), (-1, -1, 4096)):
        monkeypatch.setattr("resource.getrlimit", lambda _, limits=(soft, hard): limits)
        raised: list[tuple[int, int]] = []
        monkeypatch.setattr("resource.setrlimit", lambda _, limits: raised.append(limits))  # noqa: B023
        assert most_connections() == most
        assert all(after[0] > soft or after[0] == hard for after in raised)


def test_accepting_without_descriptors_makes_room(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    """Something else of the process took them all: the loop says so, and the longest silent goes."""
    with running.connect() as silent, caplog.at_level(logging.CRITICAL):
        running.wait_for(1)
        loop = next(iter(running.server.server_state.connections)).loop
        loop.call_soon_threadsafe(
            loop.call_exception_handler, {"message": "socket.accept() out of system resource"}
        )
        assert everything(silent) == b""
