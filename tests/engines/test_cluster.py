"""A cluster of three real Qdrant nodes: nobody acknowledged is lost, nobody erased is back, whatever happens.

ROBI_CHAOS_SEED repeats the people and their order, not the moments.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from tests.chaos.seed import SEED
from tests.engines.conftest import Tell
from tests.engines.servers import Server, cluster_of_three
from tests.engines.siege import Siege

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

COLLECTION = "face_embeddings"
LONG = 12.0  # seconds of a fault: more than the cluster needs to give a node up
SLOWEST = 1.5  # seconds of a search while one node of three is away, on a busy machine


@pytest.fixture
def nodes_and_siege(tmp_path: Path) -> Iterator[tuple[Sequence[Server], Siege]]:
    with cluster_of_three(tmp_path / "qdrant") as (nodes, to):
        besieged = Siege(tmp_path, int(SEED), **to, qdrant_shard_number=3, qdrant_replication_factor=2)
        try:
            besieged.in_step()
            for _ in range(50):
                besieged.write()
            yield nodes, besieged
        finally:
            besieged.close()


@pytest.mark.parametrize("which", [0, 2], ids=["the first node", "the last node"])
@pytest.mark.parametrize("fault", ["killed", "hung"])
def test_one_node_is_away(
    nodes_and_siege: tuple[Sequence[Server], Siege], tell: Tell, fault: str, which: int
) -> None:
    nodes, siege = nodes_and_siege
    node = nodes[which]
    with siege.going_on():
        time.sleep(2.0)
        node.kill() if fault == "killed" else node.hang()
        time.sleep(LONG)
        node.bring_back()
        node.ready()
        answering = time.monotonic()
        time.sleep(2.0)
    siege.in_step()
    behind = time.monotonic() - answering
    _whole(siege)
    siege.audit()
    tell(f"{fault}, node {which}: {siege.figures}; in step and whole {behind:.1f} s after it answered")
    assert not siege.figures.lost
    assert not siege.figures.risen
    assert siege.figures.without_qdrant == 0, "two nodes were there to answer"
    assert siege.figures.slowest < SLOWEST
    _alike(nodes, siege)


def test_a_node_is_replaced_by_an_empty_one(
    nodes_and_siege: tuple[Sequence[Server], Siege], tell: Tell
) -> None:
    nodes, siege = nodes_and_siege
    old = int(nodes[2].get("/cluster")["peer_id"])
    with siege.going_on():
        time.sleep(2.0)
        nodes[2].empty()
        time.sleep(4.0)
        assert nodes[2].url in (siege.lost() or ""), "the lost copy is named"
        _take_out(nodes[0], old)  # or the new one, at the same address, would not be let in
        nodes[2].start()
        nodes[2].ready()
        _put_copies_on(nodes)
        time.sleep(2.0)
    siege.in_step()
    _whole(siege)
    siege.audit()
    tell(f"replaced by an empty one: {siege.figures}")
    assert not siege.figures.lost
    assert not siege.figures.risen
    assert siege.figures.without_qdrant == 0
    _alike(nodes, siege)


def test_all_three_are_killed_at_once(nodes_and_siege: tuple[Sequence[Server], Siege], tell: Tell) -> None:
    nodes, siege = nodes_and_siege
    with siege.going_on():
        time.sleep(2.0)
        for node in nodes:
            node.kill()
        time.sleep(6.0)
        for node in nodes:
            node.start()
        for node in nodes:
            node.ready()
        answering = time.monotonic()
    siege.in_step()
    behind = time.monotonic() - answering
    _whole(siege)
    siege.audit()
    tell(f"all three killed: {siege.figures}; in step {behind:.1f} s after the last one answered")
    assert not siege.figures.lost
    assert not siege.figures.risen
    _alike(nodes, siege)


def _whole(siege: Siege, seconds: float = 60.0) -> None:
    """Wait until no copy is missing."""
    end = time.monotonic() + seconds
    while siege.lost() is not None:
        assert time.monotonic() < end, siege.lost()
        time.sleep(0.1)


def _alike(nodes: Sequence[Server], siege: Siege) -> None:
    """Each node counts what the ledger counts, and the marker, exactly."""
    templates = siege.store.gallery().templates
    for node in nodes:
        answer = httpx.post(
            f"{node.url}/collections/{COLLECTION}/points/count", json={"exact": True}, timeout=10.0
        )
        assert answer.json()["result"]["count"] == templates + 1, node.url


def _take_out(node: Server, peer: int) -> None:
    """What an operator does with one that is gone for good."""
    gone = httpx.delete(f"{node.url}/cluster/peer/{peer}", params={"force": "true"}, timeout=30.0)
    gone.raise_for_status()


def _put_copies_on(nodes: Sequence[Server]) -> None:
    """What an operator does with a new one: it holds nothing by itself."""
    first, new = nodes[0], int(nodes[2].get("/cluster")["peer_id"])
    spread = first.get(f"/collections/{COLLECTION}/cluster")
    holders: dict[int, list[int]] = {}
    for shard in spread["local_shards"]:
        holders.setdefault(shard["shard_id"], []).append(int(spread["peer_id"]))
    for shard in spread["remote_shards"]:
        holders.setdefault(shard["shard_id"], []).append(int(shard["peer_id"]))
    for shard_id, peers in holders.items():
        if len(peers) == 1:
            order = {"shard_id": shard_id, "from_peer_id": peers[0], "to_peer_id": new}
            httpx.post(
                f"{first.url}/collections/{COLLECTION}/cluster",
                json={"replicate_shard": order},
                timeout=30.0,
            ).raise_for_status()
