"""HybridVectorStore: the hot tier and the cold tier behind one search, both following the ledger."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from core.config.settings import Settings
from core.config.tuning import Tuning
from core.domain.decisions import NO_LOOK_ALIKES, LookAlikes, Rule
from core.domain.errors import Unavailable
from core.domain.faces import Embedding, Embeddings, PackInfo
from core.domain.search import SearchResult, Strategy
from core.domain.system import TierState
from core.domain.validation import checked_strategy, checked_threshold, checked_top_k
from core.domain.vectors import unit_rows
from core.metrics import Metrics
from core.store import performance
from core.store.contract import ChangeFeed, ColdTier
from core.store.opening import cold_runtime, cold_tier, hot_runtime
from core.store.search.batching import MAX_ROWS, Load, ProbeBatch
from core.store.search.plan import COLD, HOT, Plan, StageMark
from core.store.search.queue import SearchQueue
from core.store.search.recent_probes import RecentProbes
from core.store.search.search import Search
from core.store.search.shadow import ShadowSearch
from core.store.search.tier_runtime import TierRuntime, switched_off
from core.store.sync.follower import Follower
from core.store.sync.promotion import Promotions
from core.store.tiers.faiss.tier import HotTier
from core.store.trial import Trial, TrialOptions, hot_on_trial
from core.store.upkeep import Upkeep

logger = logging.getLogger("robi.store")

OPEN_SECONDS = 2.0  # that opening waits for the cold tier; it goes on in the background
WARM_SECONDS = 0.5  # that opening waits for the hot tier, which a small gallery fills in no time
SYNC_SECONDS = 3.0  # that a writer waits for one tier


class HybridVectorStore:
    """Thread-safe. The ledger is the truth; both tiers are projections of it and can always be rebuilt."""

    def __init__(
        self,
        settings: Settings,
        feed: ChangeFeed,
        pack: PackInfo,
        cold: ColdTier,
        metrics: Metrics | None = None,
    ) -> None:
        """Use `open`, or this with a cold tier of one's own and then `start`."""
        self.metrics = metrics or Metrics()
        self._settings = settings
        self._tuning = Tuning.of(settings)
        self._look_alikes = NO_LOOK_ALIKES
        self._feed = feed
        self._dimension = pack.dimension
        self._cold = cold
        self._hot: HotTier | None = None
        self._shadow: ShadowSearch | None = None
        promotions: Promotions | None = None
        self._tiers = {COLD: cold_runtime(settings, feed, cold)}
        if settings.faiss_enabled:
            self._hot, promotions, runtime = hot_runtime(settings, feed, pack.dimension)
            self._shadow = ShadowSearch(runtime, self._tiers[COLD], feed, self.metrics)
            self._tiers = {HOT: runtime, **self._tiers}
        self.upkeep = Upkeep(self._tiers, cold)
        self.recent = RecentProbes(settings.robi_keep_probes, pack.dimension)
        self._search = Search(self._tiers, self._hot, feed, self._shadow)
        self._queue = SearchQueue(self._search, self.metrics, self.recent, promotions)

    @classmethod
    def open(
        cls,
        settings: Settings,
        feed: ChangeFeed,
        pack: PackInfo,
        data_dir: Path,
        metrics: Metrics | None = None,
    ) -> HybridVectorStore:
        """Open both tiers and bring them up to date.

        Returns within a few seconds even when a tier is down, far behind or still loading: `states()` says
        so, and it is healed in the background.

        Raises:
            StartError: the settings can never work, such as a collection of another dimension.
            Unavailable: the ledger cannot be read.
        """
        store = cls(settings, feed, pack, cold_tier(settings, feed, pack, data_dir), metrics)
        try:
            store.start()
        except BaseException:
            store.close()
            raise
        return store

    def start(self) -> None:
        """Open both tiers at once, and wait a moment for them."""
        self._feed.when_others_commit(self._wake)
        for follower in self._followers:
            follower.start()
        if (cold := self._tiers[COLD].follower) is not None:
            cold.attempted.wait(OPEN_SECONDS)
            if cold.fatal is not None:
                raise cold.fatal
        for follower in self._followers:
            follower.attempted.wait(WARM_SECONDS)

    def _wake(self) -> None:
        for runtime in self._tiers.values():
            runtime.projection.wake.set()

    def search(
        self,
        probe: Embedding | Sequence[float],
        *,
        k: int = 5,
        strategy: Strategy = Strategy.HYBRID,
        threshold: float | None = None,
        counted: bool = True,
    ) -> SearchResult:
        """The `k` people most similar to the probe, which need not be normalised, and what that amounts to.

        With `counted` off the search is no part of the metrics, and teaches the hot tier nothing.

        Raises:
            BadInput: `invalid_embedding`, `bad_strategy` or `bad_parameter`.
            Busy: too many searches are waiting.
            Unavailable: no tier can answer, or the ledger cannot.
        """
        plan = self._plan(k, strategy, threshold, counted)
        return self._queue.answer(unit_rows([probe], self._dimension), plan)[0]

    def submit(
        self,
        probe: Embedding | Sequence[float],
        *,
        k: int = 5,
        strategy: Strategy = Strategy.HYBRID,
        threshold: float | None = None,
    ) -> Future[list[SearchResult]]:
        """As `search`, for callers that must not wait: the future gives the one result."""
        plan = self._plan(k, strategy, threshold, counted=True)
        return self._queue.submit(unit_rows([probe], self._dimension), plan)

    def search_batch(
        self,
        probes: Embeddings | Sequence[Any],
        *,
        k: int = 5,
        strategy: Strategy = Strategy.HYBRID,
        threshold: float | None = None,
        counted: bool = True,
    ) -> list[SearchResult]:
        """As `search`, for each row of `probes`, cheaper than one by one."""
        plan = self._plan(k, strategy, threshold, counted)
        rows = unit_rows(probes, self._dimension)
        if len(rows) <= MAX_ROWS:
            return list(self._queue.answer(rows, plan)) if len(rows) else []
        return list(self._queue.answer_many(rows, plan))

    def get_performance_metrics(self) -> dict[str, Any]:
        """What the store measures of itself, JSON-ready.

        Cache hit rate, p50/p95/p99 by strategy and stage, throughput, queues, memory, errors, lag of each
        tier and Qdrant's health: the numbers of `/stats` and `/api/v1/performance/qdrant`.
        """
        gallery, states = self._feed.counts(), self.states()
        figures = performance.StoreFigures(
            gallery=gallery,
            tiers=states,
            drifts=self.upkeep.drifts(),
            loads=self.loads(),
            hot_bytes=self._hot.state.memory_bytes if self._hot is not None else 0,
            cold=self.cold_state(states[-1], lag_is_known=True),
            counted=self.metrics.snapshot(),
        )
        return performance.store_alone_json(figures, self.metrics.series())

    def sync(self, seq: int) -> tuple[str, ...]:
        """Apply committed changes to both tiers now; the names of those that have not reached `seq`."""
        return tuple(
            name for name, runtime in self._tiers.items() if not runtime.projection.reach(seq, SYNC_SECONDS)
        )

    def retune(self, tuning: Tuning) -> None:
        """Search and decide by this from the next search on.

        Another kind of hot index is built in the background, while the present one answers.
        """
        self._tuning = tuning
        if self._hot is not None:
            self._hot.retune(tuning.index_type, tuning.nprobe)
            self._tiers[HOT].projection.wake.set()

    def trial(self, options: TrialOptions | None) -> Trial:
        """Another hot tier beside the live one, ready to be searched; without options none at all.

        Raises:
            Unavailable: `not_enough_memory`, or the ledger cannot be read.
        """
        hot = hot_on_trial(self._settings, self._feed, self._dimension, options) if options else None
        trial = Trial(self._tiers[COLD], hot, self._feed, self._dimension, self.rule, self.metrics.uncounted)
        try:
            return trial.open()
        except BaseException:
            trial.close()
            raise

    def trace(
        self, probe: Embedding, *, strategy: Strategy, k: int = 5, threshold: float | None = None
    ) -> tuple[SearchResult, tuple[StageMark, ...]]:
        """One uncounted search in this thread, past the queue, and when each of its stages ran.

        Raises what `search` raises.
        """
        plan = self._plan(k, strategy, threshold, counted=False)
        batch = ProbeBatch(unit_rows([probe], self._dimension), plan, [time.perf_counter()])
        outcome = self._search.run(batch)[0]
        self.metrics.uncounted(1)
        return outcome.result, outcome.marks

    def tell_apart(self, look_alikes: LookAlikes) -> None:
        """Decide between these people by the margins that were set for them, from the next search on."""
        self._look_alikes = look_alikes

    def states(self) -> tuple[TierState, ...]:
        """Where each tier stands; never raises because a tier is down."""
        head, gallery = self._feed.head(), self._feed.counts().templates
        hot = self._tiers[HOT].state(head, gallery) if HOT in self._tiers else switched_off(HOT)
        return hot, self._tiers[COLD].state(head, gallery)

    @property
    def hot(self) -> HotTier | None:
        """The hot tier, for those who look at it; None when it is off."""
        return self._hot

    @property
    def tiers(self) -> Mapping[str, TierRuntime]:
        """Each tier with its projection, follower and queue, by name."""
        return self._tiers

    def states_alone(self) -> tuple[TierState, ...]:
        """As `states` while the ledger cannot be read: lag and coverage, which only it knows, count as none
        and whole."""
        alone = {name: runtime.state(runtime.tier.seq, 0) for name, runtime in self._tiers.items()}
        return alone.get(HOT, switched_off(HOT)), alone[COLD]

    def loads(self) -> Mapping[str, Load]:
        """The queues: of whole searches, and of each tier."""
        return {
            "search": self._queue.load(),
            **{name: runtime.queue.load() for name, runtime in self._tiers.items()},
        }

    def cold_info(self) -> dict[str, Any]:
        """The cold tier: mode, points, segments, index, latencies, seq and lag, retries, restarts, errors."""
        try:
            state, lag_is_known = self.states()[-1], True
        except Unavailable:  # of the ledger; what Qdrant says of itself is worth all the more then
            state, lag_is_known = self.states_alone()[-1], False
        return performance.cold_json(self.cold_state(state, lag_is_known=lag_is_known))

    def cold_state(self, state: TierState, *, lag_is_known: bool) -> performance.ColdState:
        """What the cold tier's engine says beside its `state`; never raises because it is down."""
        return performance.ColdState.of(self._tiers[COLD], self._cold, state, lag_is_known=lag_is_known)

    def close(self) -> None:
        """Answer what is queued, stop following, close both tiers; may be called twice.

        When one part cannot be closed the others are all the same, and the failure is raised at the end.
        """
        with ExitStack() as last_to_first:
            for runtime in self._tiers.values():
                last_to_first.callback(runtime.tier.close)
            for runtime in self._tiers.values():
                last_to_first.callback(runtime.stop)
            if self._shadow is not None:
                last_to_first.callback(self._shadow.close)
            last_to_first.callback(self._queue.close)

    @property
    def _followers(self) -> list[Follower]:
        return [runtime.follower for runtime in self._tiers.values() if runtime.follower is not None]

    def _plan(self, k: int, strategy: Strategy, threshold: float | None, counted: bool) -> Plan:
        return Plan(
            checked_strategy(strategy),
            self.rule(threshold),
            checked_top_k(k),
            self._tuning.search_ef,
            counted,
        )

    def rule(self, threshold: float | None = None) -> Rule:
        """What turns similarities into decisions now, with another threshold if given. Raises BadInput."""
        tuning = self._tuning
        return Rule(
            threshold=tuning.threshold if threshold is None else checked_threshold(threshold),
            margin=tuning.margin,
            review_band=tuning.review_band,
            look_alikes=self._look_alikes,
        )
