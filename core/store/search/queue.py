"""The search queue: whole searches in front of the tiers, answered together and counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

from core.domain.errors import Busy, RobiError
from core.domain.faces import Embeddings
from core.domain.search import SearchResult
from core.metrics import Metrics
from core.store.search.batching import MAX_QUEUED, MAX_ROWS, Batcher, Load, ProbeBatch, searchers
from core.store.search.plan import Plan
from core.store.search.recent_probes import RecentProbes
from core.store.search.search import Search
from core.store.sync.promotion import Promotions


class SearchQueue:
    """Thread-safe. What comes in while searches run is searched for together."""

    def __init__(
        self,
        search: Search,
        metrics: Metrics,
        recent: RecentProbes,
        promotions: Promotions | None,
    ) -> None:
        """`promotions` learns who was recognised, where there is a cache."""
        self._search = search
        self._metrics = metrics
        self._recent = recent
        self._promotions = promotions
        self._workers = searchers()
        self._batcher: Batcher[Plan, SearchResult] = Batcher(
            "search", self._run, workers=self._workers, max_queued=MAX_QUEUED
        )

    def answer(self, rows: Embeddings, plan: Plan) -> Sequence[SearchResult]:
        """The results for probes, shape (n, dimension), n at most `MAX_ROWS`. Raises Busy or Unavailable."""
        try:
            return self._batcher.answer(rows, plan)
        except Busy as problem:
            self._failed(problem, len(rows), plan)
            raise

    def submit(self, rows: Embeddings, plan: Plan) -> Future[list[SearchResult]]:
        """As `answer`, for callers that must not wait."""
        try:
            return self._batcher.submit(rows, plan)
        except Busy as problem:
            self._failed(problem, len(rows), plan)
            raise

    def answer_many(self, rows: Embeddings, plan: Plan) -> Iterator[SearchResult]:
        """As `answer`, for any number of probes.

        Only as many chunks at a time as are searched for at a time: one caller cannot fill the queue.
        """
        waiting: deque[Future[list[SearchResult]]] = deque()
        for start in range(0, len(rows), MAX_ROWS):
            if len(waiting) == self._workers:
                yield from waiting.popleft().result()
            waiting.append(self.submit(rows[start : start + MAX_ROWS], plan))
        for future in waiting:
            yield from future.result()

    def load(self) -> Load:
        return self._batcher.load()

    def close(self) -> None:
        """Answer what is queued, then end; may be called twice."""
        self._batcher.close()

    def _run(self, batch: ProbeBatch[Plan]) -> list[SearchResult]:
        try:
            outcomes = self._search.run(batch)
        except RobiError as problem:
            self._failed(problem, len(batch.probes), batch.plan)
            raise
        results = [outcome.result for outcome in outcomes]
        if batch.plan.counted:
            self._metrics.searches(results)
            self._recent.note(batch.probes, results)
            if self._promotions is not None:
                self._promotions.learn([one.winner for one in outcomes if one.winner is not None])
        else:
            self._metrics.uncounted(len(results))
        return results

    def _failed(self, problem: RobiError, searches: int, plan: Plan) -> None:
        if plan.counted:
            self._metrics.failed(problem.code, searches)
