"""Searches over HTTP by many connections, beside an empty FastAPI route, in one run.

    python -m tests.bench_http [people] [connections]

Robi and the other application take turns; the load generator shares the machine's cores with them. CPU time
per answer says more than answers per second where others use the machine too.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil

from core.domain.search import Strategy
from core.faces.pack import ensure_pack
from core.ledger.ledger import Ledger
from tests.e2e.conftest import start_server, stop_server
from tests.galleries import Gallery, fill

EACH = 5
SECONDS = 4.0
ROUNDS = 3
PROBES = 2000
EMPTY = """
import sys, uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
class Query(BaseModel):
    embedding: list[float]
    strategy: str
app = FastAPI()
@app.post("/empty")
async def empty():
    return {}
@app.post("/reading")
async def reading(query: Query):
    return {}
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
"""


class Client(asyncio.Protocol):
    """One kept-alive connection that sends the next request as soon as the last one is answered."""

    def __init__(self, requests: Sequence[bytes], end: float, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._end = end
        self._done = done
        self._next = int(np.random.default_rng().integers(len(requests)))
        self._buffer = b""
        self.latencies: list[float] = []
        self.failures = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or len(body) < _length(head):
            return
        self._buffer = b""
        self.latencies.append(time.perf_counter() - self._sent)
        self.failures += not head.startswith(b"HTTP/1.1 200")
        if time.perf_counter() < self._end:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, problem: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _send(self) -> None:
        self._next = (self._next + 1) % len(self._requests)
        self._sent = time.perf_counter()
        self._transport.write(self._requests[self._next])


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


async def load(port: int, requests: Sequence[bytes], connections: int) -> tuple[float, list[float], int]:
    """Answers a second, latencies in seconds, failures."""
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    clients, ends = [], []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        client = Client(requests, started + SECONDS, done)
        await loop.create_connection(lambda c=client: c, "127.0.0.1", port)
        clients.append(client)
        ends.append(done)
    await asyncio.gather(*ends)
    spent = time.perf_counter() - started
    latencies = [latency for client in clients for latency in client.latencies]
    return len(latencies) / spent, latencies, sum(client.failures for client in clients)


def requests_for(probes: np.ndarray, strategy: Strategy, path: str = "/api/v1/search") -> list[bytes]:
    bodies = (json.dumps({"embedding": row, "strategy": strategy}).encode() for row in probes.tolist())
    return [
        b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
        for body in bodies
    ]


@dataclass(frozen=True, slots=True)
class Target:
    port: int
    pid: int

    def cpu_seconds(self) -> np.ndarray:
        """Of the process, of its children and of this one, which makes the load."""
        process = psutil.Process(self.pid)
        children = [child.cpu_times() for child in process.children()]
        return np.array(
            [sum(process.cpu_times()[:2]), sum(sum(times[:2]) for times in children), time.process_time()]
        )


@dataclass(slots=True)
class Kind:
    """One kind of request, and what came of it round by round."""

    target: Target
    requests: Sequence[bytes]
    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    cpu: list[np.ndarray] = field(default_factory=list)
    failed: int = 0

    def measure(self, connections: int) -> None:
        before = self.target.cpu_seconds()
        rate, latencies, failed = asyncio.run(load(self.target.port, self.requests, connections))
        self.cpu.append((self.target.cpu_seconds() - before) / len(latencies))
        self.rates.append(rate)
        self.latencies += latencies
        self.failed += failed

    @property
    def rate(self) -> float:
        return float(np.median(self.rates))


@contextmanager
def empty_application() -> Iterator[Target]:
    """A FastAPI application with a route that does nothing, and one that only reads its body."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen([sys.executable, "-c", EMPTY, str(port)])
    try:
        wait_until(f"http://127.0.0.1:{port}/docs", "swagger")
        yield Target(port, process.pid)
    finally:
        process.terminate()
        process.wait(20)


def wait_until(url: str, ready: str) -> None:
    """Until the answer holds `ready`."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        with suppress(httpx.TransportError):
            if ready in httpx.get(url).text:
                return
        time.sleep(0.1)
    raise TimeoutError(url)


def main(people: int = 20_000, connections: int = 100) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "data"
        pack = ensure_pack("open", directory).info
        gallery = Gallery(people, EACH, pack.dimension)
        ledger = Ledger.open(directory / "ledger.db", pack)
        fill(ledger, gallery)
        ledger.close()
        probes, _ = gallery.known(gallery.vectors(), PROBES)
        server = start_server(
            directory, ROBI_LOG_LEVEL="WARNING", FAISS_CACHE_SIZE=str(2 * gallery.templates)
        )
        try:
            wait_until(f"{server.url}/health", '"status":"ok"')
            wait_until(f"{server.url}/api/v1/performance/qdrant", '"index":"HNSW')
            with empty_application() as empty:
                robi = Target(int(server.url.rsplit(":", 1)[1]), server.process.pid)
                measure(robi, empty, probes, connections)
        finally:
            stop_server(server)


def measure(robi: Target, empty: Target, probes: np.ndarray, connections: int) -> None:
    kinds = {
        "empty FastAPI route": Kind(empty, requests_for(probes, Strategy.HYBRID, "/empty")),
        "route that reads it": Kind(empty, requests_for(probes, Strategy.HYBRID, "/reading")),
        **{f"search {s}": Kind(robi, requests_for(probes, s)) for s in Strategy},
    }
    for _ in range(ROUNDS):
        for kind in kinds.values():
            kind.measure(connections)
    base = kinds["empty FastAPI route"].rate
    print(f"{connections} connections, medians of {ROUNDS} rounds of {SECONDS:g} s")
    for name, kind in kinds.items():
        p50, p95, p99 = 1e3 * np.percentile(kind.latencies, (50, 95, 99))
        server, children, client = 1e6 * np.median(kind.cpu, axis=0)
        print(
            f"{name:22} {kind.rate:7.0f} /s  {kind.rate / base:5.2f} of empty   "
            f"p50 {p50:6.1f}  p95 {p95:6.1f}  p99 {p99:6.1f} ms   "
            f"CPU per answer: server {server:5.0f}  Edge {children:5.0f}  client {client:4.0f} us   "
            f"{kind.failed} failed"
        )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
