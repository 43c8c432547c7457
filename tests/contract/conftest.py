"""Every tier, for one suite: FAISS with each kind of index and on a GPU, Qdrant Edge, qdrant-client's local
mode, a server's double over real sockets, and a real server if QDRANT_URL is set (with QDRANT_API_KEY and
QDRANT_CA_CERT, if it needs them).
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from core.config.settings import IndexType, Settings
from core.domain.faces import Embeddings
from core.store.contract import ColdTier, Tier
from core.store.tiers.edge.tier import QdrantEdgeTier
from core.store.tiers.faiss import index, index_builder
from core.store.tiers.faiss.candidate_index import GpuOptions, GpuUnavailable, IndexOptions
from core.store.tiers.faiss.gpu import index as gpu
from core.store.tiers.faiss.gpu.process import GpuProcess
from core.store.tiers.faiss.tier import HotOptions, HotTier
from core.store.tiers.server.address import Address
from core.store.tiers.server.options import CollectionOwner
from core.store.tiers.server.tier import QdrantServerTier
from tests.qdrant_double import QdrantDouble
from tests.qdrant_server import real_cluster, real_server
from tests.unit.store.kit import DIMENSION, MemoryFeed, faces, settings

GALLERY = str(uuid4())
KINDS: list[IndexType] = ["Flat", "PQfs", "SQfp16", "RaBitQ", "IVF"]  # IVFPQ needs 256 templates to exist
COLD = ["edge", "local", "double", "server", "cluster"]
MakeTier = Callable[..., Tier]
MakeCold = Callable[..., ColdTier]


class OneAtATime:
    """qdrant-client's local mode, which breaks under concurrent calls, behind a lock."""

    def __init__(self, client: QdrantClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self.http = SimpleNamespace(service_api=SimpleNamespace(root=client.info))  # it has none of its own

    def collection_cluster_info(self, _: str) -> models.CollectionClusterInfo:
        nothing: list[Any] = []
        return models.CollectionClusterInfo(
            peer_id=1, shard_count=1, local_shards=nothing, remote_shards=nothing, shard_transfers=nothing
        )

    def cluster_status(self) -> models.ClusterStatus:
        return models.ClusterStatusOneOf(status="disabled")

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*arguments: Any, **named: Any) -> Any:
            with self._lock, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # local mode warns that it has no payload indexes
                return method(*arguments, **named)

        return call


@pytest.fixture
def faiss_cpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[IndexType], MakeTier]:
    """The hot tier over an empty ledger: it begins with nothing, like the others.

    Indexes are built, extended and compacted over a handful of rows.
    """
    monkeypatch.setattr(index, "FEWEST", {"PQfs": 16, "IVF": 16})
    monkeypatch.setattr(index_builder, "LONGEST_TAIL", 8)
    monkeypatch.setattr(index_builder, "FEWEST_DEAD", 2)
    return lambda kind: lambda: HotTier(MemoryFeed(), DIMENSION, HotOptions(IndexOptions(kind), 1000))


@pytest.fixture
def faiss_gpu_or_its_double(monkeypatch: pytest.MonkeyPatch) -> MakeTier:
    """The hot tier on a GPU. Where there is none numpy stands in for the card, in a real child process."""
    monkeypatch.setattr(index_builder, "LONGEST_TAIL", 8)
    try:
        gpu.open_card(0, DIMENSION).close()
    except GpuUnavailable:
        double = partial(GpuProcess, module="tests.unit.store.gpu_double")
        monkeypatch.setattr(gpu, "flat", partial(gpu.flat, open_card=double))
    options = IndexOptions(gpu=GpuOptions(0, 0.9, required=True))
    return lambda: HotTier(MemoryFeed(), DIMENSION, HotOptions(options, 1000))


@pytest.fixture
def edge(tmp_path: Path) -> MakeCold:
    return lambda dimension=DIMENSION: QdrantEdgeTier(tmp_path / "edge", dimension)


@pytest.fixture
def local() -> MakeCold:
    client = OneAtATime(QdrantClient(":memory:"))
    client.close = lambda: None  # the collection lives as long as this object: reopening finds it

    class Local(Address):
        def connect(self) -> Any:
            return client

    def make(dimension: int = DIMENSION) -> ColdTier:
        owner = CollectionOwner(GALLERY, "digest", dimension)
        return QdrantServerTier([Local("http://local")], "faces", owner)

    return make


@pytest.fixture
def double() -> Iterator[MakeCold]:
    with QdrantDouble() as running:
        yield server_tier(settings(qdrant_url=running.url, qdrant_grpc_port=running.grpc_port))


@pytest.fixture
def server() -> Iterator[MakeCold]:
    with real_server() as chosen:
        yield server_tier(chosen)


@pytest.fixture
def cluster() -> Iterator[MakeCold]:
    with real_cluster() as chosen:
        yield server_tier(chosen)


def server_tier(chosen: Settings) -> MakeCold:
    def make(dimension: int = DIMENSION) -> ColdTier:
        return QdrantServerTier.of(chosen, CollectionOwner(GALLERY, "digest", dimension))

    return make


@pytest.fixture(params=[*KINDS, "faiss_gpu_or_its_double", *COLD])
def tier(request: pytest.FixtureRequest) -> Iterator[Tier]:
    """A new one of every kind, open."""
    if request.param in KINDS:
        make = request.getfixturevalue("faiss_cpu")(request.param)
    else:
        make = request.getfixturevalue(request.param)
    opened = make()
    opened.open()
    yield opened
    opened.close()


@pytest.fixture(params=COLD)
def make_cold(request: pytest.FixtureRequest) -> Iterator[MakeCold]:
    """Makes tiers over the same storage, again and again."""
    make = request.getfixturevalue(request.param)
    made: list[ColdTier] = []

    def remember(dimension: int = DIMENSION) -> ColdTier:
        made.append(make(dimension))
        return made[-1]

    yield remember
    for one in made:
        one.close()


@pytest.fixture
def cold(make_cold: MakeCold) -> ColdTier:
    opened = make_cold()
    opened.open()
    return opened


@pytest.fixture
def vectors() -> Embeddings:
    return faces(np.random.default_rng(3), 40, 1)[:, 0]
