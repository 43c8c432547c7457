"""A hot tier on trial beside the live one: searched over the live cold tier, counted and promoted nowhere."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from core.config.settings import IndexType, Settings
from core.domain.decisions import Rule
from core.domain.errors import Unavailable
from core.domain.faces import Embedding
from core.domain.search import SearchResult, Strategy
from core.domain.vectors import unit_rows
from core.store.contract import ChangeFeed
from core.store.search.batching import Batcher, ProbeBatch, searchers
from core.store.search.plan import COLD, HOT, Plan
from core.store.search.search import Search
from core.store.search.tier_runtime import TierRuntime
from core.store.sync.projection import Projection
from core.store.tiers.faiss.budget import bytes_each, free_memory
from core.store.tiers.faiss.candidate_index import IndexOptions, at_once
from core.store.tiers.faiss.tier import HotOptions, HotTier

SHARE = 0.5  # of the free memory that one hot tier on trial may take
CALLED = "a cache on trial"  # in logs, which know the live one too
NICENESS = 5  # of the thread that builds: see `_give_way`


@dataclass(frozen=True, slots=True)
class TrialOptions:
    coverage: float  # share of the gallery's templates; whole people, as many as fit into it
    index_type: IndexType = "auto"
    nprobe: int = 64
    pause: Callable[[], None] = at_once  # see `IndexOptions`


class Trial:
    """What a search would be with another hot tier. Made by `HybridVectorStore.trial`; close it after use.

    It has a queue of whole searches like the live one, and shares nothing with that but the cold tier
    itself. The hot tier holds the gallery as it was when the trial was opened.
    """

    def __init__(
        self,
        cold: TierRuntime,
        hot: HotTier | None,
        feed: ChangeFeed,
        dimension: int,
        rule: Callable[[float | None], Rule],
        note: Callable[[int], None],
    ) -> None:
        """`rule` as `HybridVectorStore.rule`; `note` is told how many searches were answered."""
        self._dimension = dimension
        self._rule = rule
        self._note = note
        self._hot = hot
        self._tiers = {COLD: TierRuntime(cold.tier, cold.projection)}
        if hot is not None:
            projection = Projection(hot, feed, called=CALLED)
            hot_runtime = TierRuntime(hot, projection, anywhere=lambda: not hot.snapshot.one_thread)
            self._tiers = {HOT: hot_runtime, **self._tiers}
        self._search = Search(self._tiers, hot, feed)
        self._searches: Batcher[Plan, SearchResult] = Batcher("trial", self._run, workers=searchers())

    def open(self) -> Self:
        """Load the hot tier and build its index: seconds for a large gallery.

        It gives way and ends as `TrialOptions.pause` says, whose errors come through.

        Raises:
            Unavailable: the ledger cannot be read, or the cold tier's state does not allow it.
        """
        if self._hot is not None:
            with ThreadPoolExecutor(1, "trial-building", initializer=_give_way) as gentle:
                gentle.submit(self._tiers[HOT].projection.catch_up).result()
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def hot(self) -> HotTier | None:
        """The hot tier on trial; None where there is none."""
        return self._hot

    @property
    def kind(self) -> str | None:
        """The index, such as `PQfs`; None without a hot tier."""
        return None if self._hot is None else self._hot.kind

    @property
    def templates(self) -> int:
        """How many the hot tier holds."""
        return 0 if self._hot is None else self._hot.count()

    @property
    def memory_bytes(self) -> int:
        """Main memory that the hot tier takes."""
        return 0 if self._hot is None else self._hot.state.memory_bytes

    @property
    def note(self) -> str | None:
        """What a reader of the figures should know of the index."""
        return None if self._hot is None else self._hot.note

    def look_into(self, setting: IndexType, nprobe: int) -> None:
        """Search so many lists of an IVF index from the next search on."""
        if self._hot is not None:
            self._hot.retune(setting, nprobe)

    def search(
        self,
        probe: Embedding,
        *,
        strategy: Strategy,
        search_ef: int,
        k: int = 5,
        threshold: float | None = None,
    ) -> SearchResult:
        """As `HybridVectorStore.search`."""
        plan = Plan(strategy, self._rule(threshold), k, search_ef, counted=False)
        return self._searches.answer(unit_rows([probe], self._dimension), plan)[0]

    def close(self) -> None:
        """Answer what is queued and let go of the memory; the cold tier stays. May be called twice."""
        with ExitStack() as last_to_first:
            if self._hot is not None:
                last_to_first.callback(self._hot.close)
            for runtime in self._tiers.values():
                last_to_first.callback(runtime.queue.close)
            last_to_first.callback(self._searches.close)

    def _run(self, batch: ProbeBatch[Plan]) -> list[SearchResult]:
        outcomes = self._search.run(batch)
        self._note(len(outcomes))
        return [outcome.result for outcome in outcomes]


def _give_way() -> None:
    """Lower this thread's priority, for good, where threads have their own: on Linux.

    While caches of 20k templates were built one after the other, 30 live searches a second had a p95 1.4
    times as long as alone; 2.0 times without this. With 19 live searches wait for the interpreter, which this
    thread may hold while it waits for a core.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def hot_on_trial(settings: Settings, feed: ChangeFeed, dimension: int, options: TrialOptions) -> HotTier:
    """An empty hot tier as asked for.

    Raises:
        Unavailable: `not_enough_memory`, to hold it beside what is there.
    """
    capacity = max(1, math.ceil(options.coverage * feed.counts().templates))
    needed, free = capacity * bytes_each(dimension), free_memory()
    if needed > SHARE * free:
        raise Unavailable(
            "not_enough_memory",
            f"A second cache of {capacity:,} templates needs {needed >> 20:,} MB; "
            f"{int(SHARE * free) >> 20:,} MB may be used now.",
            "Compare a smaller coverage, or close other programs.",
        )
    index = replace(
        IndexOptions.of(settings), setting=options.index_type, nprobe=options.nprobe, pause=options.pause
    )
    chosen = replace(HotOptions.of(settings, dimension), index=index, capacity=capacity)
    return HotTier(feed, dimension, chosen, CALLED)
