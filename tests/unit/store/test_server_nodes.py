"""Several nodes: one that is away or hangs is left for the next at once, and used again when it is back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from core.domain.faces import Embeddings
from core.store.contract import TierDown
from core.store.tiers.server.tier import QdrantServerTier
from tests.qdrant_double import QdrantDouble
from tests.unit.store.kit import MemoryFeed, eventually, faces
from tests.unit.store.server_kit import MakeTier, catch_up, equal, make_tier, server

__all__ = ["make_tier", "server"]  # fixtures

NEXT_SECONDS = 0.2  # within which the next node is asked
SLACK_SECONDS = 0.3  # of a machine with other things to do


@pytest.fixture
def other(server: QdrantDouble) -> Iterator[QdrantDouble]:
    """A second node beside `server`."""
    with QdrantDouble(host="127.0.0.2", beside=server) as running:
        yield running


@pytest.fixture
def probe(feed: MemoryFeed) -> Embeddings:
    return faces(np.random.default_rng(6), 1, 1)[0]


@pytest.fixture
def tier(
    server: QdrantDouble, other: QdrantDouble, make_tier: MakeTier, feed: MemoryFeed
) -> QdrantServerTier:
    """On both nodes, with ten people."""
    for number, templates in enumerate(faces(np.random.default_rng(5), 10, 2)):
        feed.enroll(f"p{number}", templates)
    opened = make_tier(qdrant_url=f"{server.url},{other.url}", qdrant_timeout_seconds=3)
    catch_up(opened, feed)
    return opened


def answering(tier: QdrantServerTier) -> list[bool]:
    return [node["answers"] for node in tier.info()["nodes"]]


def test_the_first_one_is_asked_while_it_answers(
    server: QdrantDouble, other: QdrantDouble, tier: QdrantServerTier, probe: Embeddings
) -> None:
    other.faults.calls.clear()
    for _ in range(20):
        assert len(tier.search(probe, 3)[0]) == 3
    assert other.faults.calls.total() == 0


def test_one_that_is_gone_costs_a_search_next_to_nothing_and_is_used_again(
    server: QdrantDouble, other: QdrantDouble, tier: QdrantServerTier, feed: MemoryFeed, probe: Embeddings
) -> None:
    server.stop()
    started = time.monotonic()
    assert len(tier.search(probe, 3)[0]) == 3
    assert time.monotonic() - started < NEXT_SECONDS + SLACK_SECONDS
    feed.erase("p1")
    catch_up(tier, feed)
    assert equal(tier, feed)
    assert eventually(lambda: answering(tier) == [False, True])
    server.start()
    assert eventually(lambda: answering(tier) == [True, True])
    server.faults.calls.clear()
    assert len(tier.search(probe, 3)[0]) == 3
    assert server.faults.calls["QueryBatch"] == 1


def test_one_that_hangs_is_left_for_the_next_and_then_not_asked(
    server: QdrantDouble, other: QdrantDouble, tier: QdrantServerTier, probe: Embeddings
) -> None:
    for _ in range(30):
        tier.search(probe, 3)  # its usual time is known
    server.faults.hanging = True
    started = time.monotonic()
    assert len(tier.search(probe, 3)[0]) == 3
    assert time.monotonic() - started < NEXT_SECONDS + SLACK_SECONDS
    asked = server.faults.calls["QueryBatch"]
    for _ in range(20):
        assert len(tier.search(probe, 3)[0]) == 3
    assert server.faults.calls["QueryBatch"] == asked
    assert eventually(lambda: answering(tier) == [False, True])
    server.faults.hanging = False
    assert eventually(lambda: answering(tier) == [True, True])


def test_a_write_to_one_that_hangs_fails_once_and_then_goes_to_the_next(
    server: QdrantDouble, other: QdrantDouble, tier: QdrantServerTier, feed: MemoryFeed
) -> None:
    server.faults.hanging = True
    feed.erase("p2")

    def written() -> bool:
        try:
            catch_up(tier, feed)
        except TierDown:
            return False
        return True

    assert eventually(written)
    assert equal(tier, feed)


def test_when_all_are_away_a_search_fails_at_once(
    server: QdrantDouble, other: QdrantDouble, tier: QdrantServerTier, probe: Embeddings
) -> None:
    server.stop()
    other.stop()
    assert eventually(lambda: answering(tier) == [False, False] or not _found(tier, probe))
    assert eventually(lambda: answering(tier) == [False, False])
    errors = tier.info()["errors"]
    for _ in range(20):
        assert not _found(tier, probe)
    assert tier.info()["errors"] == errors


def _found(tier: QdrantServerTier, probe: Embeddings) -> bool:
    try:
        return bool(tier.search(probe, 3)[0])
    except TierDown:
        return False
