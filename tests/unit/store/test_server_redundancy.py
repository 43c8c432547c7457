"""Where the copies lie and how they are: told, and a lost one is trouble although searches are answered."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from core.store.contract import TierDown
from core.store.tiers.server.tier import QdrantServerTier
from tests.qdrant_double import QdrantDouble
from tests.unit.store.conftest import OpenStore
from tests.unit.store.kit import MemoryFeed, eventually, faces
from tests.unit.store.server_kit import (
    ACTIVE,
    DEAD,
    PARTIAL,
    MakeTier,
    catch_up,
    make_tier,
    peer_of,
    server,
    spread,
)

__all__ = ["make_tier", "server"]  # fixtures


@pytest.fixture
def other(server: QdrantDouble) -> Iterator[QdrantDouble]:
    with peer_of(server) as running:
        yield running


@pytest.fixture
def tier(
    server: QdrantDouble, other: QdrantDouble, make_tier: MakeTier, feed: MemoryFeed
) -> QdrantServerTier:
    feed.enroll("ana", faces(np.random.default_rng(5), 1, 2)[0])
    opened = make_tier(qdrant_url=f"{server.url},{other.url}", qdrant_replication_factor=2)
    catch_up(opened, feed)
    return opened


def test_every_copy_is_told_with_its_node_and_state(
    server: QdrantDouble, other: QdrantDouble, tier: QdrantServerTier
) -> None:
    spread(server, PARTIAL)
    tier.ping()
    found = {(one.shard, one.node): one.state for one in tier.server.replicas}
    assert found == {
        (0, server.url): "Active",
        (0, other.url): "Partial",
        (1, server.url): "Active",
        (1, other.url): "Partial",
    }
    assert tier.server.lost is None, "a copy that is being filled is not lost"
    told = tier.info()
    assert told["replicas_by_shard"][0] == {"shard": 0, "node": server.url, "state": "Active"}
    assert [node["url"] for node in told["nodes"]] == [server.url, other.url]
    assert (told["status"], told["unindexed"], told["transfers"]) == ("green", 2, [])


def test_a_lost_copy_is_told_with_the_node_s_name(
    server: QdrantDouble, other: QdrantDouble, tier: QdrantServerTier
) -> None:
    assert tier.server.lost is None
    spread(server, DEAD)
    tier.ping()
    assert tier.server.lost == f"{other.url} (shard 0, 1)"
    spread(server, ACTIVE)
    tier.ping()
    assert tier.server.lost is None


def test_copies_that_are_missing_altogether_are_counted(server: QdrantDouble, tier: QdrantServerTier) -> None:
    spread(server, ACTIVE, copies=1)
    tier.ping()
    assert tier.server.lost == "shard 1 has 1 of 2"


def test_a_node_that_searches_do_not_ask_is_missed_as_well(
    server: QdrantDouble, other: QdrantDouble, tier: QdrantServerTier
) -> None:
    other.stop()
    tier.ping()
    assert tier.server.lost == f"{other.url} does not answer; start it again"
    other.start()
    assert eventually(lambda: tier.server.lost is None)


def test_searches_are_not_degraded_by_a_lost_copy(
    server: QdrantDouble, other: QdrantDouble, feed: MemoryFeed, open_store: OpenStore
) -> None:
    enrolled = faces(np.random.default_rng(5), 3, 2)
    for number, templates in enumerate(enrolled):
        feed.enroll(f"p{number}", templates)
    spread(server, DEAD)
    store = open_store(
        qdrant_url=f"{server.url},{other.url}",
        qdrant_grpc_port=server.grpc_port,
        qdrant_timeout_seconds=10,
        qdrant_replication_factor=2,
    )
    assert eventually(lambda: store.states()[1].ok)
    assert store.upkeep.server is not None
    assert other.url in (store.upkeep.server.lost or "")
    result = store.search(enrolled[1, 0])
    assert result.best is not None
    assert result.best.user_id == "p1"
    assert result.degraded == ()


def test_where_nobody_answers_that_is_the_trouble_and_no_copy(
    server: QdrantDouble, other: QdrantDouble, tier: QdrantServerTier
) -> None:
    server.stop()
    other.stop()
    with pytest.raises(TierDown):
        tier.ping()
    assert eventually(lambda: tier.info()["circuit"]["state"] == "open")
    assert tier.server.lost is None
