"""Shadow searches: what Qdrant says to probes that the cache answered alone, compared after the answer.

The answer does not wait for it, because it cannot change it: the cache holds everybody and skips nothing. If
Qdrant knows somebody better all the same, the cache is not what it should be.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from core.domain.errors import RobiError
from core.domain.faces import Embedding, Embeddings
from core.domain.search import Hit
from core.metrics import Metrics
from core.store.contract import ChangeFeed
from core.store.search.plan import Plan
from core.store.search.rank import Ranked, rank_backed
from core.store.search.tier_runtime import TierRuntime

logger = logging.getLogger("robi.store.search")

MAX_WAITING = 64  # probes; what comes beyond them is not compared
REST = 4.0  # times as long as a comparison took, nothing is compared: searches need the interpreter more
LIMIT = 10  # templates to ask for: some may have been erased meanwhile
SAME = 1e-4  # similarity; people closer to each other than that may come in any order


class _Probe(NamedTuple):
    embedding: Embedding
    best: Ranked | None  # whom the cache found
    seq: int  # of the cache, then
    plan: Plan


class ShadowSearch:
    """Thread-safe. Noting never waits and never fails."""

    def __init__(self, hot: TierRuntime, cold: TierRuntime, feed: ChangeFeed, metrics: Metrics) -> None:
        self._hot = hot
        self._cold = cold
        self._feed = feed
        self._metrics = metrics
        self._waiting: deque[_Probe] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="shadow-search", daemon=True)
        self._thread.start()

    def note(self, probes: Embeddings, found: Sequence[Sequence[Ranked]], seq: int, plan: Plan) -> None:
        """Compare these later: the people whom the cache, at `seq`, found for each probe, best first."""
        for embedding, ranked in zip(probes, found, strict=True):
            if len(self._waiting) >= MAX_WAITING:
                break
            self._waiting.append(_Probe(embedding, ranked[0] if ranked else None, seq, plan))
        self._wake.set()

    def close(self) -> None:
        """Let go of what waits; may be called twice."""
        self._closing.set()
        self._wake.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            probes = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if not probes or not self._cold.askable:
                continue
            started = time.perf_counter()
            try:
                self._compare(probes)
            except RobiError as problem:
                logger.debug("nothing to compare the cache's answers with: %s", problem)
            except Exception:  # a thread that dies would compare no more
                logger.exception("comparing the cache's answers failed")
            self._closing.wait(REST * (time.perf_counter() - started))

    def _compare(self, probes: Sequence[_Probe]) -> None:
        """Raises RobiError when Qdrant or the ledger does not answer."""
        embeddings = np.stack([probe.embedding for probe in probes])
        answers = self._cold.search(embeddings, LIMIT, probes[0].plan.search_ef)
        fair = [pair for pair in zip(probes, answers, strict=True) if self._still(pair[0])]
        wrong = sum(self._knows_better(probe, hits) for probe, hits in fair)
        if wrong:
            logger.warning("Qdrant knows better than the cache in %d of %d searches", wrong, len(fair))
            if self._hot.follower is not None:
                self._hot.follower.check_soon()
        if fair:
            self._metrics.compared(len(fair), wrong)

    def _still(self, probe: _Probe) -> bool:
        """Whether both tiers have seen the same changes as the cache had when it answered."""
        return self._hot.tier.seq == self._cold.tier.seq == probe.seq

    def _knows_better(self, probe: _Probe, hits: Sequence[Hit]) -> bool:
        rule = probe.plan.rule
        ranked = rank_backed(
            probe.embedding,
            hits,
            self._feed.resolve({hit.template_id for hit in hits}),
            first=1,
            floor=rule.threshold - rule.review_band,
            templates_of=self._feed.templates_of,
        )
        if not ranked:
            return False
        best, theirs = probe.best, ranked[0]
        return best is None or (
            theirs.template.person != best.template.person and theirs.similarity > best.similarity + SAME
        )
