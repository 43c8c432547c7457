"""What large pictures and unfinished uploads take of the memory, and give back."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import PIL.Image
import psutil
import pytest

from core.runtime.budget import BODIES
from core.services.demo import demo_photos
from tests.e2e.conftest import Server, start_server, stop_server

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]
MEGABYTES = 99
PHOTO = demo_photos()[2].path


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Server]:
    server = start_server(tmp_path / "data", ROBI_MAX_UPLOAD_MB=str(MEGABYTES))
    yield server
    stop_server(server)


def is_served(server: Server) -> bool:
    assert httpx.get(f"{server.url}/health", timeout=20).status_code == 200
    with PHOTO.open("rb") as photo:
        found = httpx.post(f"{server.url}/api/v1/verify", files={"image": ("a.png", photo)}, timeout=60)
    return found.status_code == 200


def test_unfinished_uploads_take_no_more_memory_than_there_is_for_them(running: Server) -> None:
    """Fifteen of 99 MB each but for the last byte: some are refused at once, the others are ended."""
    process = psutil.Process(running.process.pid)
    assert is_served(running)
    before = process.memory_info().rss
    size = MEGABYTES * 1_000_000 - 10_000
    head = (
        b"POST /api/v1/verify HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n--b\r\n" % size
    ) + b'Content-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    place = ("127.0.0.1", urlsplit(running.url).port)
    with ExitStack() as stack:
        refused = 0
        for _ in range(15):
            connection = stack.enter_context(socket.create_connection(place, timeout=30))
            try:
                connection.sendall(head)
                for _ in range(MEGABYTES - 2):
                    connection.sendall(bytes(1_000_000))
            except OSError:
                refused += 1
        most = process.memory_info().rss
        fitting = BODIES.most // size
        assert refused >= 15 - fitting
        assert most - before < 3 * BODIES.most
    time.sleep(3)  # they have hung up
    assert is_served(running)
    time.sleep(2)
    assert process.memory_info().rss - before < BODIES.most / 2
    assert len(running.log.read_text().splitlines()) < 80


def test_large_transparent_pictures_give_their_memory_back(running: Server) -> None:
    stream = io.BytesIO()
    PIL.Image.new("RGBA", (8000, 5000), (120, 120, 120, 128)).save(stream, "PNG")
    process = psutil.Process(running.process.pid)
    assert is_served(running)
    before = process.memory_info().rss
    for _ in range(3):
        found = httpx.post(
            f"{running.url}/api/v1/verify", files={"image": ("a.png", stream.getvalue())}, timeout=120
        )
        assert found.json()["error"]["code"] == "no_face"
    assert process.memory_info().rss - before < 300e6
