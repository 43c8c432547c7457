"""Calls to a Qdrant server: one shared client, a deadline per call, bounded retries, a circuit breaker."""

from __future__ import annotations

import importlib.metadata
import logging
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from qdrant_client import QdrantClient
from qdrant_client.common.version_check import parse_version

from core.config.settings import Settings
from core.domain.errors import StartError
from core.store.contract import TierDown
from core.store.tiers.server.circuit import Circuit
from core.store.tiers.server.errors import FAILURES, CallFailed, Hopeless, failed, kind_of

logger = logging.getLogger("robi.store.qdrant")
logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log every ping

T = TypeVar("T")

POOL = 4  # gRPC connections: a search must not wait behind a page of ids, or behind a large write
MESSAGE_BYTES = 64 << 20  # a batch of 500 templates of 512 numbers comes to 1 MB
CHANNEL = {
    "grpc.use_local_subchannel_pool": 1,  # or all channels of the pool share one connection
    "grpc.max_send_message_length": MESSAGE_BYTES,
    "grpc.max_receive_message_length": MESSAGE_BYTES,
    "grpc.keepalive_time_ms": 30_000,  # notices a peer that is gone without a word
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 2_000,  # its default of 2 minutes would outlast many an outage
}
ATTEMPTS = 3
RETRY_SECONDS = 0.05  # before the first retry, doubled before the second, each with jitter
RETRIED = ("unavailable", "busy", "aborted")  # quick to fail; a deadline is not waited for twice
NO_ANSWER = ("unavailable", "deadline", "untrusted")  # what the circuit counts; anything else is an answer

Connect = Callable[[], QdrantClient]


def connector(settings: Settings) -> Connect:
    """How to reach the server of the settings. Connecting itself sends nothing.

    Raises:
        StartError: `invalid_setting` when the CA certificate cannot be read.
    """
    address = urlsplit(settings.qdrant_url)
    key = settings.qdrant_api_key.get_secret_value()
    roots, verify = _trusted(settings.qdrant_ca_cert)
    if key and address.scheme == "http" and address.hostname not in ("localhost", "127.0.0.1", "::1"):
        logger.warning("the API key of Qdrant travels unencrypted: use an https URL")

    def connect() -> QdrantClient:
        client = QdrantClient(
            url=settings.qdrant_url,
            port=address.port or 6333,
            grpc_port=settings.qdrant_grpc_port,
            prefer_grpc=True,
            timeout=settings.qdrant_timeout_seconds,
            grpc_options={**CHANNEL, **roots},
            pool_size=POOL,
            headers={"api-key": key} if key else None,  # as `api_key` it would warn on the console
            check_compatibility=False,  # done at each opening; here it would warn whenever the server is down
            verify=verify,
        )
        _ = client.grpc_points, client.grpc_collections  # made now: making them is not thread-safe
        return client

    return connect


class Link:
    """Thread-safe. Every call must be idempotent, since it may be made again: reads, upserts under fixed ids,
    deletes by id, and creating what is then looked at anew.

    A call costs at most one deadline and a half: what fails late is not tried again. A server that has failed
    several times in a row is left alone by the circuit, and calls fail at once.
    """

    def __init__(self, connect: Connect, timeout: float, *, circuit: Circuit | None = None) -> None:
        self._connect = connect
        self._timeout = timeout
        self._lock = threading.Lock()
        self._client: QdrantClient | None = None
        self._closed = False
        self._last_failure = "unavailable"
        self._jitter = random.Random()  # noqa: S311  spreads retries, decides nothing
        self.circuit = circuit or Circuit()
        self.retries = 0
        self.errors: Counter[str] = Counter()
        self.version: str | None = None  # of the server, when it last said

    def open(self) -> None:
        """Make the client, unless there is one."""
        with self._lock:
            if self._closed:
                raise TierDown("The connection to Qdrant is closed.")
            if self._client is None:
                self._client = self._connect()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def hello(self) -> str | None:
        """`GET /`: whether the server is there, and fit for this client. Returns what to know of its version.

        qdrant-client's own rule: the same major version, and minor versions at most one apart. An older
        server is refused; a newer one is spoken to, since Qdrant stays compatible with older clients.

        Raises:
            CallFailed: it does not answer, or (Hopeless) is too old.
        """
        answer = self.call(lambda client: client.http.service_api.root())
        self.version = str(answer.version)
        try:
            server = parse_version(self.version)
        except ValueError:
            return f"the server's version {self.version} cannot be compared"
        ours = parse_version(importlib.metadata.version("qdrant-client"))
        if server.major != ours.major or server.minor < ours.minor - 1:
            raise Hopeless("incompatible", _incompatible(self.version, f"{ours.major}.{ours.minor - 1}"))
        if server.minor > ours.minor + 1:
            return f"the server's version {self.version} is newer than this client was tested with"
        return None

    def call(self, operation: Callable[[QdrantClient], T]) -> T:
        """
        Raises:
            CallFailed: the server did not answer, or refused.
            TierDown: there is no connection.
        """
        client = self._client
        if client is None:
            raise TierDown("Qdrant is not connected.")
        if not self.circuit.admit():
            raise failed(self._last_failure)
        try:
            answer = self._attempt(client, operation)
        except CallFailed as problem:
            if problem.kind in NO_ANSWER:
                self._last_failure = problem.kind
                self.circuit.failed()
            else:
                self.circuit.succeeded()
            raise
        except BaseException:
            self.circuit.failed()  # admitted calls must be accounted for, whatever came of them
            if self._closed:  # a closed channel raises ValueError
                raise TierDown("The connection to Qdrant is closed.") from None
            raise
        self.circuit.succeeded()
        return answer

    def _attempt(self, client: QdrantClient, operation: Callable[[QdrantClient], T]) -> T:
        started = time.monotonic()
        for attempt in range(ATTEMPTS):
            try:
                return operation(client)
            except FAILURES as problem:
                kind = kind_of(problem)
                self.errors[kind] += 1
                late = time.monotonic() - started > self._timeout / 2
                if kind not in RETRIED or late or attempt == ATTEMPTS - 1:
                    logger.warning("Qdrant: %s (%s)", kind, type(problem).__name__)  # never their texts
                    raise failed(kind) from None
                self.retries += 1
                time.sleep(RETRY_SECONDS * 2**attempt * self._jitter.uniform(0.5, 1.5))
        raise AssertionError("unreachable")


def _incompatible(version: str, oldest: str) -> StartError:
    return StartError(
        "qdrant_incompatible",
        f"The Qdrant server has version {version}. Robi needs {oldest} or later of the same major version.",
        "Upgrade the server; Qdrant asks for one minor version at a time.",
    )


def _trusted(ca_cert: str) -> tuple[dict[str, Any], ssl.SSLContext | bool]:
    """The CA for gRPC and for HTTP; without one, those of the system."""
    if not ca_cert:
        return {}, True
    try:
        return {"root_certificates": Path(ca_cert).read_bytes()}, ssl.create_default_context(cafile=ca_cert)
    except OSError as problem:  # an SSLError is one
        raise StartError(
            "invalid_setting",
            f"QDRANT_CA_CERT: the certificate cannot be read ({problem.strerror or 'not PEM'}).",
            "Name a file with a certificate in PEM format.",
        ) from None
