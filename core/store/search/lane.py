"""A tier as a search sees it: a queue in front, the follower's judgement beside it, latencies noted."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from core.domain.errors import Unavailable
from core.domain.faces import Embeddings
from core.domain.search import Hit
from core.metrics import percentiles
from core.store.contract import Tier, TierDown
from core.store.search.batching import Batcher
from core.store.sync.projection import Projection

logger = logging.getLogger("robi.store.search")

REMEMBERED_LATENCIES = 2048

Hits = list[list[Hit]]
Depth = tuple[int, int | None]
"""How many templates, and `ef`: see `Tier.search`."""


class Lane:
    """One tier, searchable from any thread."""

    def __init__(
        self, tier: Tier, projection: Projection, *, anywhere: Callable[[], bool] = lambda: True
    ) -> None:
        """`anywhere`: whether the tier may be searched from any thread, or only by its own (a GPU index)."""
        self.tier = tier
        self.projection = projection
        self._anywhere = anywhere
        self._latencies: deque[float] = deque(maxlen=REMEMBERED_LATENCIES)
        self.batcher: Batcher[Depth, list[Hit]] = Batcher(
            f"{tier.name}-search", lambda batch: self.search(batch.probes, *batch.plan)
        )

    @property
    def name(self) -> str:
        return self.tier.name

    @property
    def askable(self) -> bool:
        return not self.projection.down

    @property
    def anywhere(self) -> bool:
        return self._anywhere()

    def ask(self, probes: Embeddings, limit: int, ef: int | None) -> Future[Hits]:
        """Queue a search for the tier's own thread. Raises Busy."""
        return self.batcher.submit(probes, (limit, ef))

    def search(self, probes: Embeddings, limit: int, ef: int | None) -> Hits:
        """Search in the caller's thread; only where `anywhere`. Raises Unavailable."""
        started = time.perf_counter()
        try:
            return self.tier.search(probes, limit, ef)
        except TierDown as problem:
            self.projection.fail(problem)
            raise
        except Exception:  # a library may fail in any way; the other tier answers then
            logger.exception("searching %s failed", self.name)
            raise Unavailable("tier_unavailable", f"The search in {self.name} failed.") from None
        finally:
            if not self.projection.in_step:
                self.projection.wake.set()
            self._latencies.append(1e3 * (time.perf_counter() - started))

    def latencies_ms(self) -> dict[str, float | None]:
        """Percentiles of the latest batches, None before the first one."""
        recent = list(self._latencies)
        return {**percentiles(recent)} if recent else dict.fromkeys(("p50", "p95", "p99"))
