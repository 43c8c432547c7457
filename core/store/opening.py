"""The tiers that the settings ask for, each with what keeps it in step; nothing is started yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.config.settings import Settings
from core.domain.faces import PackInfo
from core.store.contract import ChangeFeed, ColdTier, differs
from core.store.search.tier_runtime import TierRuntime
from core.store.sync.follower import MAX_BACKOFF, Follower
from core.store.sync.projection import Projection
from core.store.sync.promotion import Promotions
from core.store.tiers.faiss.tier import HotOptions, HotTier

AWAY_SECONDS = (
    0.5  # between two tries of a server that fails: whether it is there at all, its nodes' watches find
)


def cold_tier(settings: Settings, feed: ChangeFeed, pack: PackInfo, data_dir: Path) -> ColdTier:
    """A Qdrant server where an address is set, Qdrant Edge in the data directory otherwise."""
    if settings.qdrant_url:
        from core.store.tiers.server.options import CollectionOwner
        from core.store.tiers.server.tier import QdrantServerTier

        return QdrantServerTier.of(settings, CollectionOwner(feed.gallery_id, pack.digest, pack.dimension))
    from core.store.tiers.edge.tier import QdrantEdgeTier

    return QdrantEdgeTier(data_dir / "qdrant" / settings.qdrant_collection, pack.dimension, feed=feed)


def cold_runtime(settings: Settings, feed: ChangeFeed, cold: ColdTier) -> TierRuntime:
    pause = AWAY_SECONDS if settings.qdrant_url else MAX_BACKOFF
    return _followed(settings, Projection(cold, feed, audit=differs), cold.maintain, longest_pause=pause)


def hot_runtime(
    settings: Settings, feed: ChangeFeed, dimension: int
) -> tuple[HotTier, Promotions, TierRuntime]:
    """The cache, who gets into it, and how it is kept up."""
    hot = HotTier(feed, dimension, HotOptions.of(settings, dimension))
    projection = Projection(hot, feed)
    promotions = Promotions(hot, projection)
    runtime = _followed(settings, projection, promotions.chores, anywhere=lambda: not hot.snapshot.one_thread)
    return hot, promotions, runtime


def _followed(
    settings: Settings,
    projection: Projection,
    chores: Callable[[], None],
    anywhere: Callable[[], bool] = lambda: True,
    longest_pause: float = MAX_BACKOFF,
) -> TierRuntime:
    minutes = settings.robi_drift_check_minutes
    follower = Follower(projection, chores=chores, check_minutes=minutes, longest_pause=longest_pause)
    return TierRuntime(projection.tier, projection, follower, anywhere=anywhere)
