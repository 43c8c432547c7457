"""Real Qdrant processes for tests: started from QDRANT_BIN, killed, hung, brought back, emptied."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

READY_SECONDS = 60.0
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def binary() -> str:
    """Skips the test where there is none."""
    found = os.environ.get("QDRANT_BIN", "")
    if not found or not Path(found).is_file():
        pytest.skip("QDRANT_BIN does not name a Qdrant server to start")
    return found


@dataclass(frozen=True, slots=True)
class Ports:
    http: int
    grpc: int
    peers: int

    @classmethod
    def free(cls) -> Ports:
        """Free on every host: the nodes of a cluster use the same ones."""
        return cls(*(_free_everywhere() for _ in range(3)))


def _free_everywhere() -> int:
    for _ in range(100):
        with contextlib.ExitStack() as held:
            first = held.enter_context(socket.socket())
            first.bind((HOSTS[0], 0))
            port = int(first.getsockname()[1])
            with contextlib.suppress(OSError):
                for host in HOSTS[1:]:
                    held.enter_context(socket.socket()).bind((host, port))
                return port
    raise RuntimeError("no port is free on all hosts")


class Server:
    """One process. Its content lies in `directory`."""

    def __init__(
        self, directory: Path, ports: Ports, host: str = HOSTS[0], cluster_of: str | None = None
    ) -> None:
        """`cluster_of`: the host of the first node, which may be this one; None for a server of its own."""
        self._directory = directory
        self._ports = ports
        self.host = host
        self._cluster_of = cluster_of
        self._process: subprocess.Popen[bytes] | None = None
        self._hangs = False

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self._ports.http}"

    def start(self) -> None:
        """Returns before it answers: see `ready`."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary(), *self._arguments()],
                env=self._environment(),
                cwd=self._directory,
                stdout=log,
                stderr=log,
            )

    def ready(self, seconds: float = READY_SECONDS) -> None:
        end = time.monotonic() + seconds
        while not self.answers():
            assert time.monotonic() < end, f"{self.url} does not answer: see {self._directory / 'log'}"
            time.sleep(0.02)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/", timeout=1.0).status_code == 200
        except httpx.HTTPError:
            return False

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.url}{path}", timeout=10.0).raise_for_status().json()["result"]

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process, self._hangs = None, False

    def hang(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        self._hangs = True

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self._hangs = False

    def bring_back(self) -> None:
        """Whatever became of it."""
        if self._process is None:
            self.start()
        elif self._hangs:
            self.go_on()

    def empty(self) -> None:
        """Kill it, and have an empty disk from the next start on."""
        self.kill()
        for part in ("storage", "snapshots"):
            shutil.rmtree(self._directory / part, ignore_errors=True)

    def _arguments(self) -> Sequence[str]:
        if self._cluster_of is None:
            return ()
        uri = f"http://{self.host}:{self._ports.peers}"
        if self._cluster_of == self.host:
            return "--uri", uri
        return "--uri", uri, "--bootstrap", f"http://{self._cluster_of}:{self._ports.peers}"

    def _environment(self) -> Mapping[str, str]:
        return {
            "PATH": os.environ.get("PATH", ""),
            "QDRANT__STORAGE__STORAGE_PATH": str(self._directory / "storage"),
            "QDRANT__STORAGE__SNAPSHOTS_PATH": str(self._directory / "snapshots"),
            "QDRANT__SERVICE__HOST": self.host,
            "QDRANT__SERVICE__HTTP_PORT": str(self._ports.http),
            "QDRANT__SERVICE__GRPC_PORT": str(self._ports.grpc),
            "QDRANT__CLUSTER__ENABLED": str(self._cluster_of is not None).lower(),
            "QDRANT__CLUSTER__P2P__PORT": str(self._ports.peers),
            "QDRANT__TELEMETRY_DISABLED": "true",
            "QDRANT__LOG_LEVEL": "WARN",
        }


@contextlib.contextmanager
def one_server(directory: Path) -> Iterator[tuple[Server, Mapping[str, object]]]:
    """A server, and the settings that lead to it."""
    ports = Ports.free()
    server = Server(directory, ports)
    try:
        server.start()
        server.ready()
        yield server, {"qdrant_url": server.url, "qdrant_grpc_port": ports.grpc}
    finally:
        server.kill()


@contextlib.contextmanager
def cluster_of_three(directory: Path) -> Iterator[tuple[Sequence[Server], Mapping[str, object]]]:
    """Three nodes, and the settings that lead to them."""
    ports = Ports.free()
    nodes = [Server(directory / host, ports, host, cluster_of=HOSTS[0]) for host in HOSTS]
    try:
        for node in nodes:
            node.start()
            node.ready()
        end = time.monotonic() + READY_SECONDS
        while any(len(node.get("/cluster")["peers"]) < len(nodes) for node in nodes):
            assert time.monotonic() < end, "the nodes have not found each other"
            time.sleep(0.05)
        urls = ",".join(node.url for node in nodes)
        yield nodes, {"qdrant_url": urls, "qdrant_grpc_port": ports.grpc}
    finally:
        for node in nodes:
            node.kill()
