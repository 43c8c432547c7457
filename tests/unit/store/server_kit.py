"""What the tests of the server tier share: a double to talk to, and tiers that lose patience quickly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from qdrant_client import QdrantClient, grpc

from core.store.sync.projection import Projection
from core.store.tiers.server.address import addresses
from core.store.tiers.server.options import ServerOptions
from core.store.tiers.server.tier import QdrantServerTier
from tests.qdrant_double import QdrantDouble
from tests.unit.store.kit import MemoryFeed, faces, owner_of, settings

ACTIVE, DEAD, PARTIAL = grpc.ReplicaState.Active, grpc.ReplicaState.Dead, grpc.ReplicaState.Partial

MakeTier = Callable[..., QdrantServerTier]


@pytest.fixture
def server() -> Iterator[QdrantDouble]:
    with QdrantDouble() as running:
        yield running


@contextmanager
def peer_of(server: QdrantDouble) -> Iterator[QdrantDouble]:
    """A second node beside `server`; both know that they are peers."""
    with QdrantDouble(host="127.0.0.2", beside=server) as running:
        peers = {"1": {"uri": "http://127.0.0.1:6335/"}, "2": {"uri": "http://127.0.0.2:6335/"}}
        raft = {"term": 1, "commit": 1, "pending_operations": 0, "is_voter": True}
        server.storage.cluster = {
            "status": "enabled",
            "peer_id": 1,
            "peers": peers,
            "raft_info": raft,
            "consensus_thread_status": {"consensus_thread_status": "stopped"},
            "message_send_failures": {},
        }
        spread(server, ACTIVE)
        yield running


def spread(server: QdrantDouble, state: int, *, copies: int = 2) -> None:
    """Two shards: on the first node, and (`state`) on the second."""
    server.storage.spread = grpc.CollectionClusterInfoResponse(
        peer_id=1,
        shard_count=2,
        local_shards=[grpc.LocalShardInfo(shard_id=n, state=ACTIVE) for n in range(2)],
        remote_shards=[grpc.RemoteShardInfo(shard_id=n, peer_id=2, state=state) for n in range(copies)],
    )


@pytest.fixture
def make_tier(server: QdrantDouble, feed: MemoryFeed) -> Iterator[MakeTier]:
    """Tiers of the test's feed on the test's server, not opened yet; settings can be changed."""
    made: list[QdrantServerTier] = []

    def make(
        *,
        at: QdrantDouble | None = None,
        of: MemoryFeed | None = None,
        pace: float = 0.05,
        **values: object,
    ) -> QdrantServerTier:
        there = at or server
        # A far longer deadline than a call takes here, except where a test waits for it.
        fixed = {"qdrant_url": there.url, "qdrant_grpc_port": there.grpc_port, "qdrant_timeout_seconds": 10}
        chosen = settings(**{**fixed, **values})
        made.append(
            QdrantServerTier(
                addresses(chosen),
                chosen.qdrant_collection,
                owner_of(of or feed),
                ServerOptions.of(chosen),
                pace=pace,
            )
        )
        return made[-1]

    yield make
    for tier in made:
        tier.close()


@pytest.fixture
def tier(make_tier: MakeTier, feed: MemoryFeed) -> QdrantServerTier:
    """Holds ten people of the feed, and is caught up."""
    for number, templates in enumerate(faces(np.random.default_rng(5), 10, 2)):
        feed.enroll(f"p{number}", templates)
    opened = make_tier()
    catch_up(opened, feed)
    return opened


def client(server: QdrantDouble) -> QdrantClient:
    """A connection of somebody else's."""
    return addresses(settings(qdrant_url=server.url, qdrant_grpc_port=server.grpc_port))[0].connect()


def catch_up(tier: QdrantServerTier, feed: MemoryFeed) -> None:
    Projection(tier, feed).catch_up()


def equal(tier: QdrantServerTier, feed: MemoryFeed) -> bool:
    return sorted(tier.ids().tolist()) == sorted(t.template_id for t in feed.all())
