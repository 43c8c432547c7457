"""A stand-in for a Qdrant server at the edge of the network, for tests.

It is: real gRPC and HTTP servers on real sockets, with TLS and API keys, speaking Qdrant's protocol by the
generated stubs and the conversions that qdrant-client ships, over that package's local mode. So everything on
Robi's side of the socket is what runs in production, and faults happen where they do: on the wire.

It is not: Qdrant's engine. There is no HNSW, no quantization, no write-ahead log, no cluster; settings of
those are kept and given back. `make test-engines` runs the contract tests on real servers.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from qdrant_client.grpc.collections_service_pb2_grpc import add_CollectionsServicer_to_server
from qdrant_client.grpc.points_service_pb2_grpc import add_PointsServicer_to_server
from qdrant_client.grpc.qdrant_pb2_grpc import add_QdrantServicer_to_server

from tests.qdrant_double_faults import Faults, Interceptor
from tests.qdrant_double_services import Collections, Health, Points, Storage

HOST = "127.0.0.1"
HANG_SECONDS = 20.0  # that an unanswered HTTP request is kept, at most


@dataclass(frozen=True, slots=True)
class Certificate:
    certificate: Path
    key: Path


def make_certificate(directory: Path) -> Certificate | None:
    """A self-signed certificate for this host; None where there is no `openssl` to make it with."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return None
    made = Certificate(directory / "certificate.pem", directory / "key.pem")
    what = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"]
    names = ["-addext", f"subjectAltName=IP:{HOST},DNS:localhost"]
    where = ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run(
        [openssl, "req", "-x509", "-nodes", "-days", "2", *what, *names, *where],
        check=True,
        capture_output=True,
    )
    return made


class QdrantDouble:
    """Use as a context manager. It keeps its ports when it is stopped and started again."""

    def __init__(
        self,
        *,
        version: str = "1.20.0",
        certificate: Certificate | None = None,
        faults: Faults | None = None,
        host: str = HOST,
        beside: QdrantDouble | None = None,
    ) -> None:
        """`beside` is another node of the same cluster: it has the same content and the same gRPC port."""
        self.host = host
        self.version = version
        self.faults = faults or Faults()
        self.storage = beside.storage if beside else Storage()
        self.certificate = certificate
        self.grpc_port = beside.grpc_port if beside else 0
        self.http_port = 0
        self._grpc: grpc.Server | None = None
        self._http: _HttpServer | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://{self.host}:{self.http_port}"

    def start(self) -> None:
        self._http = _HttpServer(self)
        self.http_port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        server = grpc.server(ThreadPoolExecutor(16), interceptors=[Interceptor(self.faults)])
        add_CollectionsServicer_to_server(Collections(self.storage), server)
        add_PointsServicer_to_server(Points(self.storage, self.faults), server)
        add_QdrantServicer_to_server(Health(self.version), server)
        address = f"{self.host}:{self.grpc_port}"
        if self.certificate is None:
            self.grpc_port = server.add_insecure_port(address)
        else:
            pair = (self.certificate.key.read_bytes(), self.certificate.certificate.read_bytes())
            self.grpc_port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        server.start()
        self._grpc = server

    def stop(self) -> None:
        """Die: connections break, the ports are closed. What was written stays; see `lose_data`."""
        if self._grpc is not None:
            self._grpc.stop(None).wait()
            self._grpc = None
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    def lose_data(self) -> None:
        """Have an empty disk from the next start on."""
        self.storage = Storage()

    def __enter__(self) -> QdrantDouble:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.faults.hanging = False
        self.stop()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, double: QdrantDouble) -> None:
        self.double = double
        super().__init__((double.host, double.http_port), _Handler)
        certificate = double.certificate
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.certificate, certificate.key)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error here."""


class _Handler(BaseHTTPRequestHandler):
    server: _HttpServer

    def do_GET(self) -> None:
        double, faults = self.server.double, self.server.double.faults
        faults.calls[f"GET {self.path}"] += 1
        end = time.monotonic() + HANG_SECONDS
        while faults.hanging and time.monotonic() < end:
            time.sleep(0.02)
        if faults.refuses_get():
            self._answer(503, "text/plain", "")
        elif self.path == "/":
            body = json.dumps({"title": "qdrant - vector search engine", "version": double.version})
            self._answer(200, "application/json", body)
        elif self.path == "/cluster":
            self._answer(200, "application/json", json.dumps({"result": double.storage.cluster}))
        elif self.path == "/readyz":
            self._answer(200, "text/plain", "all shards are ready")
        else:
            self._answer(404, "text/plain", "")

    def _answer(self, status: int, kind: str, body: str) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Nothing: tests read no access log."""
