from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from dashboard.protocol import LONGEST_HEAD, BoundedProtocol

PART = b"x" * 16_384


async def _length_of_body(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(_length_of_body, http=BoundedProtocol, lifespan="off", log_config=None)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(20)
    listener.close()


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
