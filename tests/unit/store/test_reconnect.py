"""A tier that is away is tried when somebody asks for it, however long the pause would have been."""

from __future__ import annotations

import time

import pytest

from core.store import opening
from core.store.hybrid import HybridVectorStore
from core.store.sync import follower
from tests.qdrant_double import QdrantDouble
from tests.unit.store.conftest import OpenStore
from tests.unit.store.kit import MemoryFeed, eventually
from tests.unit.store.server_kit import server

__all__ = ["server"]  # fixture


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that no test outlasts."""
    monkeypatch.setattr(follower, "FIRST_BACKOFF", 600.0)
    monkeypatch.setattr(opening, "AWAY_SECONDS", 600.0)


def down(store: HybridVectorStore) -> bool:
    return not store.states()[1].answers


@pytest.mark.usefixtures("patient")
def test_a_server_that_is_back_is_found_at_once(open_store: OpenStore, server: QdrantDouble) -> None:
    server.stop()
    store = open_store(qdrant_url=server.url, qdrant_grpc_port=server.grpc_port, qdrant_timeout_seconds=10)
    assert down(store)
    server.start()
    time.sleep(0.5)
    assert down(store)
    assert store.upkeep.reconnect(20.0) == ()
    assert not down(store)
    assert store.upkeep.reconnect() == ()  # nothing to do


def test_after_an_absence_of_any_length_it_is_in_step_within_two_seconds(
    open_store: OpenStore, server: QdrantDouble
) -> None:
    server.stop()
    store = open_store(qdrant_url=server.url, qdrant_grpc_port=server.grpc_port, qdrant_timeout_seconds=10)
    time.sleep(6.0)  # pauses that double would be longer than this test waits by now
    server.start()
    assert eventually(lambda: store.states()[1].ok, 2.0)


@pytest.mark.usefixtures("patient")
def test_one_that_is_still_away_is_named_and_tried_on(open_store: OpenStore, server: QdrantDouble) -> None:
    server.stop()
    store = open_store(qdrant_url=server.url, qdrant_grpc_port=server.grpc_port, qdrant_timeout_seconds=10)
    assert store.upkeep.reconnect(0.5) == ("qdrant",)
    assert down(store)


def test_states_alone_ask_no_ledger(open_store: OpenStore, feed: MemoryFeed) -> None:
    store = open_store()
    eventually(lambda: all(state.ok for state in store.states()))

    def gone() -> int:
        raise AssertionError("the ledger was asked")

    feed.head = gone  # type: ignore[method-assign]
    assert [state.name for state in store.states_alone()] == ["faiss", "qdrant"]
    assert all(state.answers for state in store.states_alone())
    del feed.head
