"""Searches over HTTP by many connections, beside an empty FastAPI route, in one run.

    python -m tests.bench_http [people] [connections]

Robi and the empty application take turns; the load generator shares the machine's cores with them.
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
from pathlib import Path

import httpx
import numpy as np

from core.faces.pack import ensure_pack
from core.ledger.ledger import Ledger
from core.types import Strategy
from tests.e2e.conftest import start_server, stop_server
from tests.galleries import Gallery, fill

EACH = 5
SECONDS = 4.0
ROUNDS = 3
PROBES = 2000
EMPTY = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.post("/api/v1/search")
async def empty():
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


def requests_for(probes: np.ndarray, strategy: Strategy) -> list[bytes]:
    bodies = (json.dumps({"embedding": row, "strategy": strategy}).encode() for row in probes.tolist())
    return [
        b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        for body in bodies
    ]


@contextmanager
def empty_application() -> Iterator[int]:
    """The port of a FastAPI application with one route that does nothing."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen([sys.executable, "-c", EMPTY, str(port)])
    try:
        wait_until(f"http://127.0.0.1:{port}/docs", "swagger")
        yield port
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
                measure(int(server.url.rsplit(":", 1)[1]), empty, probes, connections)
        finally:
            stop_server(server)


def measure(robi: int, empty: int, probes: np.ndarray, connections: int) -> None:
    kinds = {"empty FastAPI route": (empty, requests_for(probes, Strategy.HYBRID))}
    kinds |= {f"search {s}": (robi, requests_for(probes, s)) for s in Strategy}
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    latencies: dict[str, list[float]] = {kind: [] for kind in kinds}
    failed: dict[str, int] = dict.fromkeys(kinds, 0)
    for _ in range(ROUNDS):
        for kind, (port, requests) in kinds.items():
            rate, times, failures = asyncio.run(load(port, requests, connections))
            rates[kind].append(rate)
            latencies[kind] += times
            failed[kind] += failures
    base = float(np.median(rates["empty FastAPI route"]))
    print(f"{connections} connections, medians of {ROUNDS} rounds of {SECONDS:g} s")
    for kind, found in rates.items():
        p50, p95, p99 = 1e3 * np.percentile(latencies[kind], (50, 95, 99))
        rate = float(np.median(found))
        print(
            f"{kind:22} {rate:7.0f} /s  {rate / base:5.2f} of empty   p50 {p50:6.1f}  p95 {p95:6.1f}  "
            f"p99 {p99:6.1f} ms   {failed[kind]} failed"
        )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
