"""A real Qdrant server, by QDRANT_URL, with its gRPC port, API key and CA if it needs them.

What it holds already is left alone: tests work in a collection of their own, which is gone afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from core.config.settings import Settings
from core.store.tiers.server.address import addresses
from tests.unit.store.kit import settings

GIVEN = ("qdrant_grpc_port", "qdrant_api_key", "qdrant_ca_cert")


@contextmanager
def real_server() -> Iterator[Settings]:
    """Settings for a new collection on the server; skips the test where there is none."""
    url = os.environ.get("QDRANT_URL")
    if not url:
        pytest.skip("QDRANT_URL is not set: there is no real Qdrant server to test against")
    given = {name: os.environ[name.upper()] for name in GIVEN if os.environ.get(name.upper())}
    chosen = settings(qdrant_url=url, qdrant_collection=f"robi-test-{uuid4().hex[:12]}", **given)
    yield chosen
    leftover = addresses(chosen)[0].connect()
    leftover.delete_collection(chosen.qdrant_collection)
    leftover.close()
