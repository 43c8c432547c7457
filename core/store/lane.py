"""A tier as a search sees it: a queue in front, the follower's judgement beside it, latencies noted."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future

import numpy as np

from core.store.batching import Answer, Batcher
from core.store.cold import Tier, TierDown
from core.store.follower import Projection
from core.types import Embeddings

REMEMBERED_LATENCIES = 2048


class Lane:
    """One tier, searchable from any thread."""

    def __init__(self, tier: Tier, projection: Projection) -> None:
        self.tier = tier
        self.projection = projection
        self._latencies: deque[float] = deque(maxlen=REMEMBERED_LATENCIES)
        self.batcher = Batcher(tier.name, self._search)

    @property
    def name(self) -> str:
        return self.tier.name

    @property
    def askable(self) -> bool:
        return not self.projection.down

    def ask(self, probes: Embeddings, limit: int, *, inline: bool = False) -> Future[Answer]:
        """Raises Busy. See `Batcher.submit`."""
        return self.batcher.submit(probes, limit, inline=inline)

    def latencies_ms(self) -> dict[str, float | None]:
        """Percentiles of the latest batches, None before the first one."""
        recent = list(self._latencies)
        names = ("p50", "p95", "p99")
        if not recent:
            return dict.fromkeys(names)
        return dict(
            zip(names, (round(float(p), 3) for p in np.percentile(recent, (50, 95, 99))), strict=True)
        )

    def _search(self, probes: Embeddings, limit: int) -> Answer:
        started = time.perf_counter()
        try:
            return self.tier.search(probes, limit)
        except TierDown as problem:
            self.projection.fail(problem)
            raise
        finally:
            if not self.projection.in_step:
                self.projection.wake.set()
            self._latencies.append(1e3 * (time.perf_counter() - started))
