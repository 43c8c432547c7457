"""Where the copies of a collection lie, and how they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from qdrant_client import models

from core.domain.system import Replica, ServerState, ShardTransfer
from core.store.tiers.server.link import Link
from core.store.tiers.server.node import Node


def look(link: Link, name: str) -> ServerState:
    """The state of the collection `name`. Raises what `Link.read` raises."""
    found = link.read(lambda c: c.get_collection(name))
    spread = link.read(lambda c: c.collection_cluster_info(name))
    cluster = link.read(lambda c: c.cluster_status())
    called = _names(link.nodes, cluster)
    return ServerState(
        nodes=tuple(node.state() for node in link.nodes),
        status=str(found.status.value),
        unindexed=max(0, _templates(found) - (found.indexed_vectors_count or 0)),
        wanted=found.config.params.replication_factor or 1,
        replicas=_replicas(spread, called),
        transfers=tuple(
            ShardTransfer(one.shard_id, called(one.from_), called(one.to)) for one in spread.shard_transfers
        ),
    )


def _templates(found: models.CollectionInfo) -> int:
    """The points without the marker, which is no template."""
    return (found.points_count or 0) - 1


def _replicas(spread: models.CollectionClusterInfo, called: Callable[[int], str]) -> tuple[Replica, ...]:
    here = called(spread.peer_id)
    local = [Replica(one.shard_id, here, one.state.value) for one in spread.local_shards]
    remote = [Replica(one.shard_id, called(one.peer_id), one.state.value) for one in spread.remote_shards]
    return tuple(sorted([*local, *remote], key=lambda one: (one.shard, one.node)))


def _names(nodes: Sequence[Node], cluster: models.ClusterStatus) -> Callable[[int], str]:
    """What a peer is called: the URL by which Robi knows it, else its address among the peers."""
    if not isinstance(cluster, models.ClusterStatusOneOf1):
        return lambda _: nodes[0].address.url
    known = {urlsplit(node.address.url).hostname: node.address.url for node in nodes}
    names: dict[int, str] = {}
    for peer, info in cluster.peers.items():
        address = urlsplit(info.uri)
        alone = len(known) == len(nodes)  # several on one host cannot be told apart
        names[int(peer)] = (known.get(address.hostname) if alone else None) or address.netloc
    return lambda peer: names.get(peer, f"peer {peer}")
