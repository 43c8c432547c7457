"""The collection on the server is as the settings say, and searches and writes are too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qdrant_client import grpc, models

from core.store.tiers.server.options import ServerOptions
from core.store.tiers.server.tier import QdrantServerTier
from tests.qdrant_double import QdrantDouble
from tests.unit.store import server_kit
from tests.unit.store.kit import DIMENSION, MemoryFeed, faces
from tests.unit.store.server_kit import MakeTier, catch_up, equal, make_tier, server, tier

__all__ = ["make_tier", "server", "tier"]  # fixtures

NAME = "face_embeddings"


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
    before = sorted(tier.ids())
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
    assert sorted(again.ids()) == before
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
    chosen.search(np.ones((1, DIMENSION), np.float32), 4, 99)
    assert asked[1].query_points[0].params.hnsw_ef == 99, "a search may say otherwise"
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
    monkeypatch.setattr("core.store.tiers.server.tier.PAGE", 3)
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


@pytest.mark.parametrize(
    ("copies", "writes", "reads", "told"),
    [
        (3, 2, "", ()),
        (3, 1, "quorum", ()),
        (3, 2, "2", ()),
        (2, 1, "1", ()),
        (3, 3, "", ("QDRANT_WRITE",)),
        (2, 2, "", ("QDRANT_WRITE",)),
        (2, 1, "quorum", ("QDRANT_READ",)),
        (3, 2, "majority", ("QDRANT_READ",)),
        (3, 3, "all", ("QDRANT_WRITE", "QDRANT_READ")),
        (1, 1, "", ("QDRANT_REPLICATION",)),
    ],
)
def test_what_the_loss_of_a_node_would_stop_is_said(
    copies: int, writes: int, reads: str, told: tuple[str, ...]
) -> None:
    options = ServerOptions(replicas=copies, write_consistency=writes, read_consistency=reads)
    frailties = options.frailties(nodes=3)
    assert len(frailties) == len(told)
    assert all(name in frailty for name, frailty in zip(told, frailties, strict=True))


def test_one_server_alone_is_not_called_frail() -> None:
    assert ServerOptions().frailties(nodes=1) == ()


def test_frail_settings_are_logged_and_noted(make_tier: MakeTier, caplog: pytest.LogCaptureFixture) -> None:
    frail = make_tier(qdrant_replication_factor=2, qdrant_write_consistency_factor=2)
    frail.open()
    assert "stops every write" in caplog.text
    assert "stops every write" in str(frail.info()["notes"])
