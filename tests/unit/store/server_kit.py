"""What the tests of the server tier share: a double to talk to, and tiers that lose patience quickly."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from qdrant_client import QdrantClient

from core.store.sync.projection import Projection
from core.store.tiers.server.address import addresses
from core.store.tiers.server.options import ServerOptions
from core.store.tiers.server.tier import QdrantServerTier
from tests.qdrant_double import QdrantDouble
from tests.unit.store.kit import MemoryFeed, faces, owner_of, settings

MakeTier = Callable[..., QdrantServerTier]


@pytest.fixture
def server() -> Iterator[QdrantDouble]:
    with QdrantDouble() as running:
        yield running


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
