"""The whole store on a server over real sockets: searches go on without it, and say so, and it heals."""

from __future__ import annotations

import time

import numpy as np
import pytest

from core.domain.errors import StartError, Unavailable
from core.domain.faces import Embeddings
from core.domain.search import Strategy
from core.domain.system import TierState
from core.store.contract import TierDown
from core.store.hybrid import HybridVectorStore
from core.store.sync.projection import Projection
from tests.qdrant_double import QdrantDouble
from tests.unit.store.conftest import OpenStore
from tests.unit.store.kit import DIMENSION, MemoryFeed, eventually, faces
from tests.unit.store.server_kit import MakeTier, make_tier, server

__all__ = ["make_tier", "server"]  # fixtures


@pytest.fixture
def gallery(feed: MemoryFeed, random: np.random.Generator) -> Embeddings:
    enrolled = faces(random, 30, 2)
    for number, templates in enumerate(enrolled):
        feed.enroll(f"p{number}", templates)
    return enrolled


@pytest.fixture
def address(server: QdrantDouble) -> dict[str, object]:
    return {"qdrant_url": server.url, "qdrant_grpc_port": server.grpc_port, "qdrant_timeout_seconds": 10}


def cold(store: HybridVectorStore) -> TierState:
    return next(state for state in store.states() if state.name == "qdrant")


def best_of(store: HybridVectorStore, probe: np.ndarray, strategy: Strategy) -> str:
    best = store.search(probe, strategy=strategy).best
    assert best is not None
    return best.user_id


def test_an_unreachable_server_does_not_hold_up_the_start_and_is_named(
    open_store: OpenStore,
    server: QdrantDouble,
    address: dict[str, object],
    feed: MemoryFeed,
    gallery: Embeddings,
    random: np.random.Generator,
) -> None:
    server.stop()
    started = time.monotonic()
    store = open_store(**address)
    assert time.monotonic() - started < 30.0
    assert not cold(store).ok
    assert "cannot be reached" in (cold(store).error or "")
    for strategy in Strategy:
        result = store.search(gallery[9, 0], strategy=strategy)
        assert result.best is not None
        assert result.best.user_id == "p9"
        assert result.tiers == ("faiss",)
        assert result.degraded == (() if strategy is Strategy.FAISS_FIRST else ("qdrant",))
    ids, seq = feed.enroll("new", faces(random, 1, 2)[0])
    assert store.sync(seq) == ("qdrant",)
    assert store.upkeep.left(ids) == {"qdrant": None, "faiss": 2}
    assert cold(store).lag == 62
    info = store.cold_info()
    assert (info["mode"], info["ok"], info["points"]) == ("server", False, None)
    assert info["errors_by_kind"]["unavailable"] >= 3
    assert info["circuit"]["failures"] >= 1


def test_without_any_tier_a_search_says_so(
    open_store: OpenStore, server: QdrantDouble, address: dict[str, object]
) -> None:
    server.stop()
    store = open_store(faiss_enabled=False, **address)
    with pytest.raises(Unavailable) as refused:
        store.search(np.ones(DIMENSION, np.float32))
    assert refused.value.code == "search_unavailable"


def test_what_can_never_work_stops_the_start(
    open_store: OpenStore, server: QdrantDouble, address: dict[str, object]
) -> None:
    server.faults.api_key = "secret"
    with pytest.raises(StartError) as refused:
        open_store(**address)
    assert refused.value.code == "qdrant_unauthorized"


@pytest.mark.parametrize("disk", ["kept", "lost"])
def test_a_server_that_comes_back_is_caught_up_with(
    open_store: OpenStore,
    server: QdrantDouble,
    address: dict[str, object],
    feed: MemoryFeed,
    gallery: Embeddings,
    random: np.random.Generator,
    disk: str,
) -> None:
    store = open_store(**address)
    assert eventually(lambda: cold(store).ok)
    server.stop()
    assert best_of(store, gallery[1, 0], Strategy.QDRANT_ONLY) == "p1"
    assert not cold(store).ok
    erased, _ = feed.erase("p1")
    new = faces(random, 1, 2)[0]
    _, seq = feed.enroll("new", new)
    assert store.sync(seq) == ("qdrant",)
    assert best_of(store, new[0], Strategy.HYBRID) == "new"
    if disk == "lost":
        server.lose_data()
    server.start()
    assert eventually(lambda: cold(store).ok and cold(store).lag == 0)
    assert best_of(store, new[0], Strategy.QDRANT_ONLY) == "new"
    assert best_of(store, gallery[2, 0], Strategy.QDRANT_ONLY) == "p2"
    assert store.upkeep.left(erased) == {"qdrant": 0, "faiss": 0}
    assert store.search(new[0]).degraded == ()


@pytest.mark.parametrize("strategy", [Strategy.HYBRID, Strategy.QDRANT_ONLY])
def test_a_server_that_falls_silent_costs_a_search_one_deadline_and_the_next_ones_nothing(
    open_store: OpenStore,
    server: QdrantDouble,
    address: dict[str, object],
    gallery: Embeddings,
    strategy: Strategy,
) -> None:
    store = open_store(**address | {"qdrant_timeout_seconds": 2})
    assert eventually(lambda: all(state.ok for state in store.states()))
    server.faults.hanging = True
    started = time.monotonic()
    assert best_of(store, gallery[4, 0], strategy) == "p4"
    assert time.monotonic() - started < 3.5
    started = time.monotonic()
    for _ in range(20):
        assert best_of(store, gallery[4, 0], strategy) == "p4"
    assert time.monotonic() - started < 1.0


def test_a_tier_that_was_down_is_not_believed_before_it_has_answered(
    server: QdrantDouble, make_tier: MakeTier, feed: MemoryFeed
) -> None:
    projection = Projection(make_tier(), feed)
    projection.catch_up()
    assert projection.ok
    projection.fail(TierDown("It was too slow."))
    server.stop()
    with pytest.raises(TierDown):
        projection.catch_up()
    assert projection.down
    server.start()
    assert eventually(lambda: caught_up(projection))
    assert projection.ok


def caught_up(projection: Projection) -> bool:
    try:
        projection.catch_up()
    except TierDown:
        return False
    return True
