"""`python -m dashboard` serves everything; a start that cannot work ends in one clear line."""

from __future__ import annotations

import errno
import gc
import logging
import os
import socket
import sys
from collections.abc import Mapping
from types import MappingProxyType

from core.config.settings import Settings, load_settings
from core.domain.errors import StartError
from core.telemetry import logs, tracing

_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def _listen(settings: Settings) -> list[socket.socket]:
    """One listener for each address. A machine without IPv6 is `localhost` by IPv4 alone."""
    listeners: list[socket.socket] = []
    for address in settings.addresses:
        try:
            listeners.append(_listen_on(address, settings.robi_port))
        except OSError as problem:
            if listeners and problem.errno in _NO_SUCH_ADDRESS:
                continue
            for listener in listeners:
                listener.close()
            raise _cannot_listen(settings, problem) from None
    return listeners


def _listen_on(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # Named as TCP, or asyncio leaves Nagle's algorithm on, which delays every answer by 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def _cannot_listen(settings: Settings, problem: OSError) -> StartError:
    if problem.errno == errno.EADDRINUSE:
        return StartError(
            "port_in_use",
            f"Port {settings.robi_port} is already in use.",
            "Stop the program that uses it, or set ROBI_PORT to another port.",
        )
    return StartError(
        "address_unusable",
        f"{settings.robi_host}, port {settings.robi_port}, cannot be listened on: {problem.strerror}.",
        "Set ROBI_HOST and ROBI_PORT to an address of this machine and a port above 1023.",
    )


def _serve(listeners: list[socket.socket]) -> None:
    import uvicorn

    from dashboard.app import build_app
    from dashboard.protocol import BoundedProtocol
    from dashboard.server import BURST, BoundedServer

    address, port = listeners[0].getsockname()[:2]
    host = f"[{address}]" if ":" in address else address
    config = uvicorn.Config(
        build_app(),
        http=BoundedProtocol,
        ws="websockets-sansio",
        ws_max_size=16 * 2**20,
        ws_ping_interval=10,  # seconds; a browser answers by itself, one that is gone is noticed
        ws_ping_timeout=20,
        backlog=BURST,
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
    )
    gc.collect()
    gc.freeze()  # what is loaded stays: later collections need not walk through it, which took 0.1 s
    # Streamlit switches the server's own access log on again. It would name people, whose IDs are in paths;
    # `robi.api.access` names the route instead.
    logging.getLogger("uvicorn.access").disabled = True
    print(f"Robi is ready: http://{host}:{port}", flush=True)
    BoundedServer(config).run(sockets=listeners)


def main(given: Mapping[str, object] = MappingProxyType({})) -> int:
    """Serve until told to stop. What is `given`, by a setting's field, stands over the environment.

    Exit status: 0 after an orderly stop, 2 when Robi could not start.
    """
    try:
        settings = load_settings(**given)
        logs.configure(settings)
        tracing.configure(settings)
        from dashboard.shared import resources

        resources.open_resources(settings)
        try:
            _serve(_listen(settings))
        finally:
            resources.close_resources()
            tracing.close()
    except StartError as problem:
        print(f"Robi cannot start: {problem.message} {problem.hint}".strip(), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(main())
