"""The collection on the server: whose it is, what it is like, and what a start does about either."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qdrant_client import models

from core.domain.errors import StartError
from core.domain.faces import PackInfo
from core.store.contract import TierDown, differs
from core.store.tiers.server.options import CollectionOwner
from core.store.tiers.server.tier import QdrantServerTier
from tests.qdrant_double import QdrantDouble
from tests.unit.store import server_kit
from tests.unit.store.kit import DIMENSION, MemoryFeed, faces
from tests.unit.store.server_kit import MakeTier, catch_up, equal, make_tier, server, tier

__all__ = ["make_tier", "server", "tier"]  # fixtures

NAME = "face_embeddings"
COSINE = models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE)


def create(server: QdrantDouble, vectors: Any = COSINE, **values: Any) -> None:
    """A collection that somebody else has made, over the wire."""
    client = server_kit.client(server)
    client.create_collection(NAME, vectors_config=vectors, **values)
    client.close()


def put(server: QdrantDouble, *point_ids: int, payload: dict[str, Any] | None = None) -> None:
    points = [models.PointStruct(id=i, vector=[1.0] * DIMENSION, payload=payload) for i in point_ids]
    with server.storage.lock:
        server.storage.local.upsert(NAME, points)


def points(server: QdrantDouble) -> int:
    with server.storage.lock:
        return server.storage.local.count(NAME).count


def refused(wanted: QdrantServerTier) -> StartError:
    with pytest.raises(StartError) as problem:
        wanted.open()
    assert problem.value.code == "collection_mismatch"
    assert "QDRANT_COLLECTION" in problem.value.hint
    assert NAME in problem.value.message
    return problem.value


def test_another_gallery_s_collection_is_refused_and_left_alone(
    server: QdrantDouble, tier: QdrantServerTier, make_tier: MakeTier
) -> None:
    before = points(server)
    other = MemoryFeed()
    assert other.gallery_id[:8] not in refused(make_tier(of=other)).message
    assert points(server) == before
    make_tier(of=other, qdrant_collection="another").open()


def test_of_two_galleries_that_create_it_at_once_one_is_refused(
    server: QdrantDouble, make_tier: MakeTier, feed: MemoryFeed
) -> None:
    first, second = make_tier(), make_tier(of=MemoryFeed())

    def just_before(method: str, _: Any) -> None:
        if method == "Create":
            server.faults.gate = None
            first.open()

    server.faults.gate = just_before
    refused(second)
    feed.enroll("ana", faces(np.random.default_rng(1), 1, 2)[0])
    catch_up(first, feed)
    assert equal(first, feed)


def test_a_collection_is_its_creator_s_before_anything_is_in_it(
    server: QdrantDouble, make_tier: MakeTier
) -> None:
    first, second = make_tier(), make_tier(of=MemoryFeed())
    problems: list[StartError] = []

    def right_after_its_creation(method: str, _: Any) -> None:
        if method == "Get":
            server.faults.gate = None
            problems.append(refused(second))

    server.faults.gate = right_after_its_creation
    first.open()
    assert "another gallery" in problems[0].message


def test_a_collection_that_another_gallery_has_taken_is_noticed_by_the_ping(
    server: QdrantDouble, tier: QdrantServerTier, make_tier: MakeTier
) -> None:
    with server.storage.lock:
        server.storage.local.delete_collection(NAME)
    make_tier(of=MemoryFeed()).open()
    with pytest.raises(TierDown, match="marker"):
        tier.ping()
    refused(tier)


def test_a_lost_marker_is_noticed_by_the_ping_and_made_again(
    server: QdrantDouble, tier: QdrantServerTier, feed: MemoryFeed
) -> None:
    with server.storage.lock:
        server.storage.local.delete(NAME, models.PointIdsList(points=[0]))
    with pytest.raises(TierDown, match="marker"):
        tier.ping()
    catch_up(tier, feed)
    tier.ping()
    assert tier.count() == 20
    assert equal(tier, feed)


@pytest.mark.parametrize(
    "vectors",
    [
        {"face": COSINE},
        models.VectorParams(size=DIMENSION, distance=models.Distance.EUCLID),
        models.VectorParams(size=DIMENSION * 2, distance=models.Distance.COSINE),
    ],
    ids=["named", "euclidean", "larger"],
)
def test_a_collection_of_another_shape_is_refused(
    server: QdrantDouble, make_tier: MakeTier, vectors: Any
) -> None:
    create(server, vectors)
    refused(make_tier())


@pytest.mark.parametrize("point_ids", [(0,), (0, 1, 2), (7,)])
@pytest.mark.parametrize("payload", [None, {"seq": 3, "title": "a book"}])
def test_points_that_robi_did_not_put_there_are_not_touched(
    server: QdrantDouble, make_tier: MakeTier, point_ids: tuple[int, ...], payload: dict[str, Any] | None
) -> None:
    create(server)
    put(server, *point_ids, payload=payload)
    assert "did not put there" in refused(make_tier()).message
    assert points(server) == len(point_ids)


def test_an_empty_collection_is_taken_over(
    server: QdrantDouble, make_tier: MakeTier, feed: MemoryFeed
) -> None:
    create(server)
    taken = make_tier()
    feed.enroll("ana", faces(np.random.default_rng(1), 1, 2)[0])
    catch_up(taken, feed)
    assert equal(taken, feed)
    refused(make_tier(of=MemoryFeed()))


def test_a_collection_from_before_gallery_ids_is_taken_over(
    server: QdrantDouble, make_tier: MakeTier, feed: MemoryFeed
) -> None:
    create(server)
    put(server, 0, payload={"seq": 0})
    feed.enroll("ana", faces(np.random.default_rng(1), 1, 2)[0])
    taken = make_tier()
    catch_up(taken, feed)
    assert differs(taken, feed) is None
    refused(make_tier(of=MemoryFeed()))


def repacked(make_tier: MakeTier, feed: MemoryFeed, monkeypatch: pytest.MonkeyPatch, dimension: int) -> Any:
    pack = PackInfo(id="other", digest="11" * 32, dimension=dimension, licence="none")
    monkeypatch.setattr(
        server_kit, "owner_of", lambda feed: CollectionOwner(feed.gallery_id, pack.digest, pack.dimension)
    )
    return make_tier()


@pytest.mark.parametrize("dimension", [DIMENSION, DIMENSION * 4])
def test_another_pack_is_refused_unless_the_gallery_was_emptied(
    tier: QdrantServerTier,
    make_tier: MakeTier,
    feed: MemoryFeed,
    monkeypatch: pytest.MonkeyPatch,
    dimension: int,
    server: QdrantDouble,
) -> None:
    before = points(server)
    refused(repacked(make_tier, feed, monkeypatch, dimension))
    assert points(server) == before
    for person in {t.user_id for t in feed.all()}:
        feed.erase(person)
    catch_up(tier, feed)
    anew = repacked(make_tier, feed, monkeypatch, dimension)
    anew.open()
    assert (anew.seq, anew.count()) == (0, 0)
    assert anew.search(np.ones((1, dimension), np.float32), 1) == [[]]


def test_clearing_spares_a_collection_that_has_become_another_gallery_s(
    server: QdrantDouble, tier: QdrantServerTier, make_tier: MakeTier
) -> None:
    other = MemoryFeed()
    other.enroll("ana", faces(np.random.default_rng(1), 1, 2)[0])
    with server.storage.lock:
        server.storage.local.delete_collection(NAME)
    theirs = make_tier(of=other)
    catch_up(theirs, other)
    with pytest.raises(StartError):
        tier.clear()
    assert equal(theirs, other)
