"""Where the nodes of a Qdrant server are, and how they are spoken to."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from qdrant_client import QdrantClient

from core.config.settings import Settings
from core.domain.errors import StartError
from core.store.tiers.server.errors import kind_of

logger = logging.getLogger("robi.store.qdrant")
logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log every ping

POOL = 4  # gRPC connections: a search must not wait behind a page of ids, or behind a large write
MESSAGE_BYTES = 64 << 20  # a batch of 500 templates of 512 numbers comes to 1 MB
CHANNEL: Mapping[str, int] = {
    "grpc.use_local_subchannel_pool": 1,  # or all channels of the pool share one connection
    "grpc.max_send_message_length": MESSAGE_BYTES,
    "grpc.max_receive_message_length": MESSAGE_BYTES,
    "grpc.keepalive_time_ms": 30_000,  # notices a peer that is gone without a word
    # Also how long the kernel waits for a receipt before it gives a connection up: one that a cut network has
    # left behind would otherwise be tried ever more rarely, and stay silent long after the network is back.
    "grpc.keepalive_timeout_ms": 2_000,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 2_000,  # that one attempt to connect may take
    "grpc.max_reconnect_backoff_ms": 500,  # its default of 2 minutes would outlast many an outage
}
LOOK_SECONDS = 0.5  # for finding out why a node cannot be reached


@dataclass(frozen=True, slots=True)
class Address:
    """One node."""

    url: str
    grpc_port: int = 6334
    timeout: int = 3  # seconds for one answer
    key: str = field(default="", repr=False)
    roots: Mapping[str, bytes] = field(default_factory=dict, repr=False)  # of gRPC
    verify: ssl.SSLContext | bool = True  # of HTTP

    def connect(self) -> QdrantClient:
        """Sends nothing."""
        client = QdrantClient(
            url=self.url,
            port=urlsplit(self.url).port or 6333,
            grpc_port=self.grpc_port,
            prefer_grpc=True,
            timeout=self.timeout,
            grpc_options={**CHANNEL, **self.roots},
            pool_size=POOL,
            headers={"api-key": self.key} if self.key else None,  # as `api_key` it would warn on the console
            check_compatibility=False,  # done at each opening; here it would warn whenever the server is down
            verify=self.verify,
        )
        _ = client.grpc_points, client.grpc_collections  # made now: making them is not thread-safe
        return client

    def why_unreachable(self) -> str:
        """The kind of failure behind a gRPC port that cannot be reached, by a look at the HTTP port."""
        url = urlsplit(self.url)
        try:
            httpx.get(f"{url.scheme}://{_with_port(self.url)}/", verify=self.verify, timeout=LOOK_SECONDS)
        except (httpx.HTTPError, OSError) as problem:
            kind = kind_of(problem)
            wrong_scheme = url.scheme == "http" and _speaks_tls(url.hostname or "", url.port or 6333)
            return "tls" if kind == "unavailable" and wrong_scheme else kind
        return "no_grpc"


def addresses(settings: Settings) -> tuple[Address, ...]:
    """The nodes of the settings.

    Raises:
        StartError: `invalid_setting` when the CA certificate cannot be read.
    """
    key = settings.qdrant_api_key.get_secret_value()
    roots, verify = _trusted(settings.qdrant_ca_cert)
    if key and any(map(_in_the_clear, settings.qdrant_urls)):
        logger.warning("the API key of Qdrant travels unencrypted: use an https URL")
    port, timeout = settings.qdrant_grpc_port, settings.qdrant_timeout_seconds
    return tuple(Address(url, port, timeout, key, roots, verify) for url in settings.qdrant_urls)


def _in_the_clear(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1")


def _with_port(url: str) -> str:
    parts = urlsplit(url)
    return parts.netloc if parts.port else f"{parts.netloc}:6333"


def _speaks_tls(host: str, port: int) -> bool:
    """Whether a handshake succeeds, whosever certificate it is: nothing is sent."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), LOOK_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return True
    except OSError:
        return False


def _trusted(ca_cert: str) -> tuple[Mapping[str, bytes], ssl.SSLContext | bool]:
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
