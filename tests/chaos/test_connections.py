"""Clients that say nothing, or half of something, against a real Robi with few descriptors."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

ROOT = Path(__file__).resolve().parents[2]
DESCRIPTORS = 1024
HEAD = b"POST /api/v1/%b HTTP/1.1\r\nHost: localhost\r\nContent-Type: %b\r\nContent-Length: 900000\r\n\r\n%b"
HALF = (
    b"",
    b"GET /health HTTP/1.1\r\nHost: loc",
    HEAD
    % (b"verify", b"multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="im'),
    HEAD % (b"search", b"application/json", b'{"embedding": [0.1, '),
)
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Robi:
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def health_s(self) -> float:
        """How long an answer of `/health` takes; it must come."""
        begun = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=10) as answer:
            assert answer.status == 200
        return time.monotonic() - begun

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@pytest.fixture
def robi(tmp_path: Path) -> Iterator[Robi]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    log = tmp_path / "log"
    environment = {**os.environ, "ROBI_PORT": str(port), "ROBI_DATA_DIR": str(tmp_path / "data")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "dashboard"],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS)),
        )
    robi = Robi(port, process, log)
    for _ in range(600):
        with contextlib.suppress(OSError):
            robi.health_s()
            break
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    yield robi
    process.send_signal(signal.SIGTERM)
    process.wait(20)


@contextlib.contextmanager
def clients(robi: Robi, begins: Iterator[bytes]) -> Iterator[None]:
    """So many connections that have said this and say no more."""
    with contextlib.ExitStack() as stack:
        for begin in begins:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", robi.port), timeout=20))
            with contextlib.suppress(ConnectionError):
                connection.sendall(begin)
        yield


def written(robi: Robi) -> int:
    """Lines in the log, without the one that every request has."""
    return sum(b" robi.api.access: " not in line for line in robi.log.read_bytes().splitlines())


def test_600_requests_that_stop_half_way(robi: Robi, tell: Tell) -> None:
    at_rest, lines = robi.descriptors(), written(robi)
    with clients(robi, (HALF[number % len(HALF)] for number in range(600))):
        slowest = max(robi.health_s() for _ in range(20))
        deadline = time.monotonic() + 60
        while robi.descriptors() > at_rest + 10:
            assert time.monotonic() < deadline, robi.descriptors()
            time.sleep(0.2)
        robi.health_s()
    tell(f"600 half-sent requests: /health within {slowest:.2f} s, {written(robi) - lines} lines in the log")
    assert written(robi) - lines < 50, robi.log.read_text()[-3000:]


def test_1100_silent_connections_to_1024_descriptors(robi: Robi, tell: Tell) -> None:
    lines = written(robi)
    limits = (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)  # of this process, which is the attacker
    with clients(robi, (b"" for _ in range(1100))):
        slowest = max(robi.health_s() for _ in range(20))
        used = robi.descriptors()
    tell(f"1,100 silent: /health within {slowest:.2f} s, {used} descriptors, {written(robi) - lines} lines")
    assert used < DESCRIPTORS
    assert written(robi) - lines < 50, robi.log.read_text()[-3000:]


def test_a_storm_of_connections_that_come_and_go(robi: Robi, tell: Tell) -> None:
    lines = written(robi)
    for _ in range(5):
        with clients(robi, (HALF[number % len(HALF)] for number in range(500))):
            pass
    slowest = max(robi.health_s() for _ in range(20))
    tell(f"2,500 that come and go: /health within {slowest:.2f} s, {written(robi) - lines} lines")
    assert written(robi) - lines < 50, robi.log.read_text()[-3000:]
