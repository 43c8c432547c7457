"""The collection on the server: whose it is, what it is like, and what a start does about either."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qdrant_client import grpc, models

from core.errors import StartError
from core.store.cold import differs
from core.store.qdrant_options import Owner
from core.store.qdrant_server import QdrantServerTier
from core.types import PackInfo
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


def info(server: QdrantDouble) -> models.CollectionInfo:
    client = server_kit.client(server)
    found = client.get_collection(NAME)
    client.close()
    return found


def recorded(server: QdrantDouble, method: str) -> list[Any]:
    """Requests of the method from now on."""
    requests: list[Any] = []

    def note(name: str, request: Any) -> None:
        if name == method:
            requests.append(request)

    server.faults.gate = note
    return requests


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
        server_kit, "owner_of", lambda feed: Owner(feed.gallery_id, pack.digest, pack.dimension)
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


def test_the_collection_is_created_as_the_settings_say(server: QdrantDouble, make_tier: MakeTier) -> None:
    make_tier(
        qdrant_hnsw_m=24,
        qdrant_hnsw_ef_construct=200,
        qdrant_on_disk=True,
        qdrant_shard_number=3,
        qdrant_replication_factor=2,
        qdrant_write_consistency_factor=2,
    ).open()
    found = info(server)
    config, params = found.config, found.config.params
    assert (config.hnsw_config.m, config.hnsw_config.ef_construct) == (24, 200)
    assert isinstance(config.quantization_config, models.ScalarQuantization)
    assert isinstance(params.vectors, models.VectorParams)
    assert params.vectors.on_disk is True
    assert (params.shard_number, params.replication_factor, params.write_consistency_factor) == (3, 2, 2)
    assert "person" in found.payload_schema


def test_settings_that_change_no_answer_are_brought_up_to_date(
    server: QdrantDouble, tier: QdrantServerTier, make_tier: MakeTier, feed: MemoryFeed
) -> None:
    before = points(server)
    updates = recorded(server, "Update")
    changed: dict[str, object] = {
        "qdrant_hnsw_m": 32,
        "qdrant_quantization": "none",
        "qdrant_on_disk": True,
        "qdrant_replication_factor": 2,
        "qdrant_shard_number": 4,
    }
    again = make_tier(**changed)
    again.open()
    found = info(server)
    assert len(updates) == 1
    assert found.config.hnsw_config.m == 32
    assert found.config.quantization_config is None
    assert isinstance(found.config.params.vectors, models.VectorParams)
    assert found.config.params.vectors.on_disk is True
    assert found.config.params.replication_factor == 2
    assert points(server) == before
    assert again.info()["notes"] == ["it has 1 shards, not 4: that is fixed at its creation"]
    make_tier(**changed).open()
    assert len(updates) == 1, "nothing is left to change"
    make_tier().open()
    assert isinstance(info(server).config.quantization_config, models.ScalarQuantization)


def test_a_change_that_the_server_refuses_is_noted(
    server: QdrantDouble, tier: QdrantServerTier, make_tier: MakeTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("not in this edition")

    monkeypatch.setattr(server.storage.local, "update_collection", refuse)
    stubborn = make_tier(qdrant_hnsw_m=32)
    stubborn.open()
    assert stubborn.info()["notes"] == ["the server refused to change hnsw_config"]


@pytest.mark.parametrize("quantization", ["int8", "none"])
def test_searches_ask_for_what_the_settings_say(
    server: QdrantDouble, make_tier: MakeTier, quantization: str
) -> None:
    chosen = make_tier(
        qdrant_search_ef=77,
        qdrant_quantization=quantization,
        qdrant_replication_factor=3,
        qdrant_read_consistency="quorum",
    )
    chosen.open()
    asked = recorded(server, "QueryBatch")
    chosen.search(np.ones((1, DIMENSION), np.float32), 4)
    params = asked[0].query_points[0].params
    assert asked[0].read_consistency.type == grpc.ReadConsistencyType.Quorum
    assert params.hnsw_ef == 77
    assert params.HasField("quantization") == (quantization == "int8")
    if quantization == "int8":
        assert params.quantization.rescore
        assert params.quantization.oversampling == 2.0


@pytest.mark.parametrize(("copies", "ordered"), [(1, False), (2, True)])
def test_among_replicas_writes_keep_their_order(
    server: QdrantDouble, make_tier: MakeTier, feed: MemoryFeed, copies: int, ordered: bool
) -> None:
    feed.enroll("ana", faces(np.random.default_rng(1), 1, 2)[0])
    writes: list[Any] = recorded(server, "Upsert")
    catch_up(make_tier(qdrant_replication_factor=copies, qdrant_read_consistency=str(copies)), feed)
    assert all(write.HasField("ordering") == ordered and write.wait for write in writes)
    assert len(writes) >= 2


def test_a_missing_index_on_people_is_made_at_the_next_start(
    server: QdrantDouble, tier: QdrantServerTier, make_tier: MakeTier
) -> None:
    server.storage.indexes[NAME].clear()
    make_tier().open()
    assert "person" in info(server).payload_schema


def test_ids_come_page_by_page(
    server: QdrantDouble, tier: QdrantServerTier, feed: MemoryFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.store.qdrant_server.PAGE", 3)
    server.faults.calls.clear()
    assert equal(tier, feed)
    assert server.faults.calls["Scroll"] == 7  # twenty templates and the marker
    assert len(tier.ids()) == 20


def test_info_has_the_server_s_view_and_our_own(tier: QdrantServerTier, server: QdrantDouble) -> None:
    found = tier.info()
    assert found["points"] == 20
    assert (found["status"], found["optimizer"], found["shards"], found["replicas"]) == ("green", "ok", 1, 1)
    assert "exact scan" in found["index"]
    assert found["version"] == server.version
    assert (found["retries"], found["errors"], found["errors_by_kind"]) == (0, 0, {})
    assert found["circuit"]["state"] == "closed"
    server.stop()
    away = tier.info()
    assert away["points"] is None
    assert away["errors"] == sum(away["errors_by_kind"].values()) == 3
