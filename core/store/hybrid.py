"""HybridVectorStore: the hot tier and the cold tier behind one search, both following the ledger."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.config import Settings
from core.errors import BadInput
from core.store.cold import ColdTier, TierDown, differs
from core.store.feed import ChangeFeed
from core.store.follower import Follower, Projection
from core.store.hot import HotOptions, HotTier
from core.store.lane import Lane
from core.store.merge import COLD, HOT, Rule
from core.store.promotion import Promotions
from core.store.search import Search
from core.store.states import off_state, state_of
from core.types import Embedding, Embeddings, PackInfo, SearchResult, Strategy, TierState
from core.vectors import unit_rows

logger = logging.getLogger("robi.store")

OPEN_SECONDS = 3.0  # that opening waits for the cold tier; it goes on in the background
SYNC_SECONDS = 3.0  # that a writer waits for one tier
CHUNK = 64  # probes asked for at once, so that one caller cannot fill a tier's queue


class HybridVectorStore:
    """Thread-safe. The ledger is the truth; both tiers are projections of it and can always be rebuilt."""

    def __init__(self, settings: Settings, feed: ChangeFeed, pack: PackInfo, cold: ColdTier) -> None:
        """Use `open`, or this with a cold tier of one's own and then `start`."""
        self._settings = settings
        self._feed = feed
        self._dimension = pack.dimension
        self._cold = cold
        self._cold_lane = Lane(cold, Projection(cold, feed, audit=differs))
        self._cold_follower = Follower(self._cold_lane.projection, chores=cold.maintain)
        self._hot: HotTier | None = None
        self._lanes = {COLD: self._cold_lane}
        self._followers = [self._cold_follower]
        self._promotions: Promotions | None = None
        if settings.faiss_enabled:
            self._add_hot(HotTier(feed, pack.dimension, HotOptions.of(settings)))

    @classmethod
    def open(cls, settings: Settings, feed: ChangeFeed, pack: PackInfo, data_dir: Path) -> HybridVectorStore:
        """Open both tiers and bring them up to date.

        Returns within a few seconds even when a tier is down or far behind: `states()` says so, and it is
        healed in the background.

        Raises:
            StartError: the settings can never work, such as a collection of another dimension.
            Unavailable: the ledger cannot be read.
        """
        store = cls(settings, feed, pack, _cold_tier(settings, pack, data_dir))
        try:
            store.start()
        except BaseException:
            store.close()
            raise
        return store

    def start(self) -> None:
        """Load the hot tier while the cold one starts, and wait a moment for both."""
        self._cold_follower.start()
        if self._hot is not None:
            self._lanes[HOT].projection.catch_up()
        for follower in self._followers:
            if follower is not self._cold_follower:
                follower.start()
        self._cold_follower.attempted.wait(OPEN_SECONDS)
        if self._cold_follower.fatal is not None:
            raise self._cold_follower.fatal

    def search(
        self,
        probe: Embedding | Sequence[float],
        *,
        k: int = 5,
        strategy: Strategy = Strategy.HYBRID,
        threshold: float | None = None,
    ) -> SearchResult:
        """The `k` people most similar to the probe, which need not be normalised, and what that amounts to.

        Raises:
            BadInput: `invalid_embedding` or `bad_parameter`.
            Busy: too many searches are waiting.
            Unavailable: no tier can answer, or the ledger cannot.
        """
        return self.search_batch([probe], k=k, strategy=strategy, threshold=threshold)[0]

    def search_batch(
        self,
        probes: Embeddings | Sequence[Any],
        *,
        k: int = 5,
        strategy: Strategy = Strategy.HYBRID,
        threshold: float | None = None,
    ) -> list[SearchResult]:
        """As `search`, for each row of `probes`, cheaper than one by one."""
        if k < 1:
            raise BadInput("bad_parameter", "top_k must be at least 1.")
        rows = unit_rows(probes, self._dimension)
        search = Search(self._lanes, self._hot, self._feed, strategy, self._rule(threshold), k)
        results: list[SearchResult] = []
        for start in range(0, len(rows), CHUNK):
            results.extend(search.run(rows[start : start + CHUNK]))
        if self._promotions is not None:
            self._promotions.learn(search.matched)
        return results

    def sync(self, seq: int) -> tuple[str, ...]:
        """Apply committed changes to both tiers now; the names of those that have not reached `seq`."""
        return tuple(
            name for name, lane in self._lanes.items() if not lane.projection.reach(seq, SYNC_SECONDS)
        )

    def rebuild(self, tier: str) -> None:
        """Empty a tier and fill it from the ledger; the other one keeps answering.

        Raises:
            BadInput: `bad_parameter` for an unknown tier.
            TierDown: it does not answer.
        """
        if tier not in self._lanes:
            raise BadInput("bad_parameter", "There is no such tier.", f"Use {' or '.join(self._lanes)}.")
        self._lanes[tier].projection.rebuild()

    def promote(self, persons: Collection[int]) -> None:
        """Bring whole people into the hot tier, as the most recently used."""
        if self._promotions is not None:
            self._promotions.now(persons)

    def left(self, template_ids: Sequence[int]) -> Mapping[str, int | None]:
        """How many of these templates each tier still holds; None when a tier cannot be asked."""
        left: dict[str, int | None] = {COLD: None, HOT: 0}
        for name, lane in self._lanes.items():
            try:
                left[name] = len(lane.tier.held(template_ids))
            except TierDown:
                left[name] = None
        return left

    def states(self) -> tuple[TierState, ...]:
        """Where each tier stands; never raises because a tier is down."""
        head, gallery = self._feed.head(), self._feed.counts().templates
        hot = state_of(self._lanes[HOT], head, gallery) if HOT in self._lanes else off_state(HOT)
        return hot, state_of(self._cold_lane, head, gallery)

    def cold_info(self) -> Mapping[str, Any]:
        """The cold tier: mode, points, segments, index, latencies, seq and lag, retries, restarts, errors."""
        tier, projection = self._cold, self._cold_lane.projection
        info: dict[str, Any] = {
            "mode": tier.kind,
            "ok": projection.ok,
            "error": projection.error or tier.note,
        }
        try:
            info |= {"points": tier.count(), **tier.info()}
        except TierDown as problem:
            info |= {"points": None, "error": problem.message}
        info["latencies_ms"] = self._cold_lane.latencies_ms()
        info["seq"] = tier.seq
        info["seq_lag"] = max(0, self._feed.head() - tier.seq)
        return info

    def close(self) -> None:
        """Stop following, answer what is queued, close both tiers; may be called twice."""
        for follower in self._followers:
            follower.close()
        for lane in self._lanes.values():
            lane.batcher.close()
            lane.tier.close()

    def _add_hot(self, hot: HotTier) -> None:
        lane = Lane(hot, Projection(hot, self._feed))
        self._hot = hot
        self._promotions = Promotions(hot, lane.projection)
        self._lanes = {HOT: lane, COLD: self._cold_lane}
        self._followers.append(Follower(lane.projection, chores=self._promotions.chores))

    def _rule(self, threshold: float | None) -> Rule:
        settings = self._settings
        if threshold is not None and not -1.0 <= threshold <= 1.0:
            raise BadInput("bad_parameter", "threshold must be between -1 and 1.")
        return Rule(
            threshold=settings.face_threshold if threshold is None else threshold,
            margin=settings.face_margin,
            review_band=settings.face_review_band,
        )


def _cold_tier(settings: Settings, pack: PackInfo, data_dir: Path) -> ColdTier:
    if settings.qdrant_url:
        from core.store.qdrant_server import QdrantServerTier, connector

        return QdrantServerTier(connector(settings), settings.qdrant_collection, pack.dimension)
    from core.store.qdrant_edge import QdrantEdgeTier

    return QdrantEdgeTier(data_dir / "qdrant" / settings.qdrant_collection, pack.dimension)
