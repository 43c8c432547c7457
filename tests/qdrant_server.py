"""A real Qdrant: a server by QDRANT_URL (with its gRPC port, API key and CA if it needs them), or processes
of the test's own by QDRANT_BIN.

What a given server holds already is left alone: tests work in a collection of their own, which is gone
afterwards.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest

from core.config.settings import Settings
from core.store.tiers.server.address import addresses
from tests.engines.servers import cluster_of_three, one_server
from tests.unit.store.kit import settings

GIVEN = ("qdrant_grpc_port", "qdrant_api_key", "qdrant_ca_cert")
IN_CLUSTER = {"qdrant_shard_number": 3, "qdrant_replication_factor": 2}


@contextmanager
def real_server() -> Iterator[Settings]:
    """Settings for a new collection on a server; skips the test where there is none."""
    url = os.environ.get("QDRANT_URL")
    if url:
        given = {name: os.environ[name.upper()] for name in GIVEN if os.environ.get(name.upper())}
        yield from _collection({"qdrant_url": url, **given})
    elif os.environ.get("QDRANT_BIN"):
        yield from _collection(_own_server())
    else:
        pytest.skip("neither QDRANT_URL nor QDRANT_BIN is set: there is no real Qdrant to test against")


@contextmanager
def real_cluster() -> Iterator[Settings]:
    """As `real_server`, on three nodes of the test's own."""
    if not os.environ.get("QDRANT_BIN"):
        pytest.skip("QDRANT_BIN is not set: there is no Qdrant to make a cluster of")
    yield from _collection({**_own_cluster(), **IN_CLUSTER})


def _collection(to: Mapping[str, object]) -> Iterator[Settings]:
    chosen = settings(**to, qdrant_collection=f"robi-test-{uuid4().hex[:12]}")
    yield chosen
    leftover = addresses(chosen)[0].connect()
    leftover.delete_collection(chosen.qdrant_collection)
    leftover.close()


@cache
def _own_server() -> Mapping[str, object]:
    """Started once in a test process, and ended with it."""
    held = ExitStack()
    atexit.register(held.close)
    directory = Path(held.enter_context(tempfile.TemporaryDirectory()))
    return held.enter_context(one_server(directory))[1]


@cache
def _own_cluster() -> Mapping[str, object]:
    held = ExitStack()
    atexit.register(held.close)
    directory = Path(held.enter_context(tempfile.TemporaryDirectory()))
    return held.enter_context(cluster_of_three(directory))[1]
