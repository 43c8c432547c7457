"""One contract, every cold tier: Edge, qdrant-client's local mode, a server's double over real sockets, and
a real server if QDRANT_URL is set (with QDRANT_API_KEY and QDRANT_CA_CERT, if it needs them).
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from qdrant_client import QdrantClient

from core.config.settings import Settings
from core.domain.errors import StartError
from core.domain.faces import Embeddings
from core.domain.templates import Change, ChangeKind
from core.store.contract import ColdTier, Stale, TierDown
from core.store.tiers.edge.tier import QdrantEdgeTier
from core.store.tiers.server.link import connector
from core.store.tiers.server.options import CollectionOwner
from core.store.tiers.server.tier import QdrantServerTier
from tests.qdrant_double import QdrantDouble
from tests.unit.store.kit import DIMENSION, faces, settings

GALLERY = str(uuid4())
MakeTier = Callable[..., ColdTier]


class OneAtATime:
    """qdrant-client's local mode, which breaks under concurrent calls, behind a lock."""

    def __init__(self, client: QdrantClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self.http = SimpleNamespace(service_api=SimpleNamespace(root=client.info))  # it has none of its own

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*arguments: Any, **named: Any) -> Any:
            with self._lock, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # local mode warns that it has no payload indexes
                return method(*arguments, **named)

        return call


def local_tier() -> MakeTier:
    client = OneAtATime(QdrantClient(":memory:"))
    client.close = lambda: None  # the collection lives as long as this object: reopening finds it

    def make(dimension: int = DIMENSION) -> ColdTier:
        return QdrantServerTier(lambda: client, "faces", CollectionOwner(GALLERY, "digest", dimension))

    return make


def edge_tier(directory: Path) -> MakeTier:
    def make(dimension: int = DIMENSION) -> ColdTier:
        return QdrantEdgeTier(directory, dimension)

    return make


def server_tier(chosen: Settings) -> MakeTier:
    def make(dimension: int = DIMENSION) -> ColdTier:
        return QdrantServerTier.of(chosen, CollectionOwner(GALLERY, "digest", dimension))

    return make


def real_server() -> Settings:
    url = os.environ.get("QDRANT_URL")
    if not url:
        pytest.skip("QDRANT_URL is not set")
    given = {
        name: os.environ[name.upper()]
        for name in ("qdrant_grpc_port", "qdrant_api_key", "qdrant_ca_cert")
        if os.environ.get(name.upper())
    }
    return settings(qdrant_url=url, qdrant_collection=f"robi-test-{uuid4().hex[:12]}", **given)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[MakeTier]:
    chosen = real_server()
    yield server_tier(chosen)
    leftover = connector(chosen)()
    leftover.delete_collection(chosen.qdrant_collection)
    leftover.close()


@pytest.fixture
def double() -> Iterator[MakeTier]:
    with QdrantDouble() as running:
        yield server_tier(settings(qdrant_url=running.url, qdrant_grpc_port=running.grpc_port))


@pytest.fixture
def local() -> MakeTier:
    return local_tier()


@pytest.fixture
def edge(tmp_path: Path) -> MakeTier:
    return edge_tier(tmp_path / "edge")


@pytest.fixture(params=["edge", "local", "double", "server"])
def make_tier(request: pytest.FixtureRequest) -> Iterator[MakeTier]:
    """Makes tiers over the same storage, again and again."""
    make = request.getfixturevalue(request.param)
    opened: list[ColdTier] = []

    def remember(dimension: int = DIMENSION) -> ColdTier:
        opened.append(make(dimension))
        return opened[-1]

    yield remember
    for tier in opened:
        tier.close()


@pytest.fixture
def tier(make_tier: MakeTier) -> ColdTier:
    opened = make_tier()
    opened.open()
    return opened


@pytest.fixture
def vectors() -> Embeddings:
    return faces(np.random.default_rng(3), 40, 1)[:, 0]


def puts(vectors: Embeddings, *, seq: int = 1, template_id: int = 1) -> list[Change]:
    return [
        Change(seq + n, ChangeKind.PUT, template_id + n, template_id + n, vector)
        for n, vector in enumerate(vectors)
    ]


def drops(*template_ids: int, seq: int) -> list[Change]:
    return [Change(seq + n, ChangeKind.DROP, i, i, None) for n, i in enumerate(template_ids)]


def test_a_new_tier_is_empty_and_at_the_beginning(tier: ColdTier, vectors: Embeddings) -> None:
    assert tier.seq == 0
    assert tier.count() == 0
    assert tier.search(vectors[:2], 5) == [[], []]
    assert tier.held([1, 2]) == {}


def test_put_is_found_best_first(tier: ColdTier, vectors: Embeddings) -> None:
    tier.apply(puts(vectors), after=0)
    hits = tier.search(vectors[7:8], 10)[0]
    similarities = vectors @ vectors[7]
    assert [h.template_id for h in hits] == (np.argsort(-similarities)[:10] + 1).tolist()
    assert [h.similarity for h in hits] == pytest.approx(np.sort(similarities)[::-1][:10], abs=1e-3)


def test_a_batch_answers_each_probe(tier: ColdTier, vectors: Embeddings) -> None:
    tier.apply(puts(vectors), after=0)
    answers = tier.search(vectors[:20], 3)
    assert [hits[0].template_id for hits in answers] == list(range(1, 21))
    assert all(len(hits) == 3 for hits in answers)


def test_the_marker_is_neither_counted_nor_found_nor_held(tier: ColdTier, vectors: Embeddings) -> None:
    tier.apply(puts(vectors[:5]), after=0)
    assert tier.count() == 5
    like_the_marker = np.eye(1, DIMENSION, dtype=np.float32)
    hits = tier.search(like_the_marker, 50)[0]
    assert sorted(h.template_id for h in hits) == [1, 2, 3, 4, 5]
    assert set(tier.held([0, 1])) == {1}


def test_applying_the_same_again_changes_nothing(tier: ColdTier, vectors: Embeddings) -> None:
    tier.apply(puts(vectors[:10]), after=0)
    tier.apply(drops(3, seq=11), after=10)
    tier.apply([*puts(vectors[:2], seq=12), *drops(3, 4, seq=14), *drops(4, seq=16)], after=11)
    assert tier.count() == 8
    assert set(tier.held(range(1, 11))) == {1, 2, 5, 6, 7, 8, 9, 10}
    assert tier.seq == 16


def test_dropping_what_was_never_there_is_fine(tier: ColdTier) -> None:
    tier.apply(drops(404, 405, seq=1), after=0)
    assert tier.count() == 0
    assert tier.seq == 2


def test_put_and_drop_in_one_batch_end_dropped(tier: ColdTier, vectors: Embeddings) -> None:
    tier.apply([*puts(vectors[:3]), *drops(2, seq=4)], after=0)
    assert set(tier.held([1, 2, 3])) == {1, 3}


def test_a_put_whose_template_was_erased_is_a_drop(tier: ColdTier, vectors: Embeddings) -> None:
    tier.apply(puts(vectors[:1]), after=0)
    tier.apply([Change(2, ChangeKind.PUT, 1, 1, None)], after=1)
    assert tier.count() == 0
    assert tier.seq == 2


def test_dropped_is_not_found(tier: ColdTier, vectors: Embeddings) -> None:
    tier.apply(puts(vectors), after=0)
    tier.apply(drops(8, seq=41), after=40)
    assert 8 not in [h.template_id for h in tier.search(vectors[7:8], 40)[0]]
    assert tier.held([8]) == {}


def test_a_writer_who_believes_the_tier_elsewhere_is_refused(tier: ColdTier, vectors: Embeddings) -> None:
    tier.apply(puts(vectors[:2]), after=0)
    with pytest.raises(Stale):
        tier.apply(puts(vectors[2:4], seq=10, template_id=10), after=9)
    assert tier.seq == 2
    assert tier.count() == 2


def test_what_was_applied_is_there_after_reopening(make_tier: MakeTier, vectors: Embeddings) -> None:
    first = make_tier()
    first.open()
    first.apply(puts(vectors), after=0)
    first.apply(drops(5, seq=41), after=40)
    first.close()
    second = make_tier()
    second.open()
    assert second.seq == 41
    assert second.count() == 39
    found = second.held([1, 5])
    assert set(found) == {1}
    assert float(found[1] @ vectors[0]) == pytest.approx(1.0, abs=1e-5)


def test_cleared_is_empty_and_usable(tier: ColdTier, vectors: Embeddings) -> None:
    tier.apply(puts(vectors), after=0)
    generation = tier.generation
    tier.clear()
    assert (tier.seq, tier.count()) == (0, 0)
    assert tier.generation > generation
    tier.apply(puts(vectors[:3]), after=0)
    assert tier.count() == 3


def test_info_tells_the_state(tier: ColdTier, vectors: Embeddings) -> None:
    tier.apply(puts(vectors), after=0)
    assert {"segments", "index", "retries", "restarts", "errors"} <= set(tier.info())


def test_closing_twice_is_fine_and_then_it_is_down(tier: ColdTier, vectors: Embeddings) -> None:
    tier.close()
    tier.close()
    with pytest.raises(TierDown):
        tier.search(vectors[:1], 1)
    with pytest.raises(TierDown):
        tier.open()


def test_not_opened_yet_is_down(make_tier: MakeTier, vectors: Embeddings) -> None:
    with pytest.raises(TierDown):
        make_tier().search(vectors[:1], 1)


def test_searches_and_writes_from_many_threads(tier: ColdTier, vectors: Embeddings) -> None:
    tier.apply(puts(vectors[:20]), after=0)
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(20):
                assert tier.search(vectors[:1], 1)[0][0].template_id == 1
        except BaseException as problem:  # noqa: BLE001  reported by the main thread
            failures.append(problem)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(20, 40):
        tier.apply(puts(vectors[number : number + 1], seq=number + 1, template_id=number + 1), after=number)
    for reader in readers:
        reader.join()
    assert failures == []
    assert tier.count() == 40


def test_all_ids_are_told_without_the_marker(tier: ColdTier, vectors: Embeddings) -> None:
    assert tier.ids().tolist() == []
    tier.apply(puts(vectors), after=0)
    tier.apply(drops(5, 7, seq=41), after=40)
    assert sorted(tier.ids().tolist()) == sorted({*range(1, 41)} - {5, 7})


def test_a_sign_of_life_is_given_while_it_lives(tier: ColdTier, vectors: Embeddings) -> None:
    tier.ping()
    tier.apply(puts(vectors), after=0)
    tier.ping()
    tier.close()
    with pytest.raises(TierDown):
        tier.ping()


@pytest.mark.parametrize("kind", ["local", "double", "server"])
def test_a_server_collection_of_another_dimension_stops_the_start(
    request: pytest.FixtureRequest, kind: str, vectors: Embeddings
) -> None:
    make = request.getfixturevalue(kind)
    first = make()
    first.open()
    first.apply(puts(vectors), after=0)
    other = make(DIMENSION * 2)
    with pytest.raises(StartError) as refused:
        other.open()
    assert refused.value.code == "collection_mismatch"
    assert first.count() == len(vectors)
    first.close()
    other.close()


def test_an_edge_directory_of_another_dimension_is_begun_anew(tmp_path: Path, vectors: Embeddings) -> None:
    make = edge_tier(tmp_path / "edge")
    first = make()
    first.open()
    first.apply(puts(vectors), after=0)
    first.close()
    other = make(DIMENSION * 2)
    other.open()
    assert (other.seq, other.count()) == (0, 0)
    other.close()
