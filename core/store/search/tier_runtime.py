"""A tier at work: what it holds, how far it follows the ledger, who sees to that, and the queue in front."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime

import numpy as np

from core.domain.errors import Unavailable
from core.domain.faces import Embeddings
from core.domain.search import Hit
from core.domain.system import TierState
from core.metrics import percentiles
from core.store.contract import Tier, TierDown
from core.store.search.batching import Batcher
from core.store.sync.follower import Follower
from core.store.sync.projection import Projection

logger = logging.getLogger("robi.store.search")

REMEMBERED_LATENCIES = 2048
LEARNED_FROM = 64  # answers
SLACK = 3.0  # times the usual p99
LEAST_PATIENT = 0.5  # seconds: a busy moment of the machine is no outage
MOST_PATIENT = 5.0  # covers a killed and replaced Edge child, once
STARTED = datetime.now(UTC)

Hits = list[list[Hit]]
Depth = tuple[int, int | None]
"""How many templates, and `ef`: see `Tier.search`."""


class Patience:
    """Within how many seconds a tier nearly always answers, its queue included. Thread-safe."""

    def __init__(self) -> None:
        self._taken: deque[float] = deque(maxlen=LEARNED_FROM)
        self.seconds = MOST_PATIENT

    def learn(self, seconds: float) -> None:
        """One more answer took so long; a failure tells nothing."""
        self._taken.append(seconds)
        if len(self._taken) == LEARNED_FROM:
            usual = float(np.percentile(list(self._taken), 99))
            self.seconds = min(MOST_PATIENT, max(LEAST_PATIENT, SLACK * usual))
            self._taken.clear()


class TierRuntime:
    """One tier, searchable from any thread."""

    def __init__(
        self,
        tier: Tier,
        projection: Projection,
        follower: Follower | None = None,
        *,
        anywhere: Callable[[], bool] = lambda: True,
    ) -> None:
        """
        Args:
            follower: keeps the projection up; None for a tier that somebody else looks after.
            anywhere: whether it may be searched from any thread, or only by its own (a GPU index).
        """
        self.tier = tier
        self.projection = projection
        self.follower = follower
        self._anywhere = anywhere
        self._latencies: deque[float] = deque(maxlen=REMEMBERED_LATENCIES)
        self.patience = Patience()
        self.queue: Batcher[Depth, list[Hit]] = Batcher(
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
        return self.queue.submit(probes, (limit, ef))

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

    def state(self, head: int, gallery: int) -> TierState:
        """Where it stands against the ledger's `head` and number of templates; never raises."""
        tier, projection = self.tier, self.projection
        error = tier.note if tier.progress is not None else projection.error or tier.note
        ok = projection.in_step and not tier.degraded
        answers = not projection.down
        templates = 0
        if answers:
            try:
                templates = tier.count()
            except TierDown as problem:
                ok, answers, error = False, False, problem.message
        return TierState(
            name=tier.name,
            kind=tier.kind,
            ok=ok,
            templates=templates,
            seq=tier.seq,
            lag=max(0, head - tier.seq),
            coverage=min(1.0, templates / gallery) if gallery else 1.0,
            since=projection.since,
            answers=answers,
            progress=tier.progress,
            error=error,
        )

    def stop(self) -> None:
        """Answer what is queued and follow no more; the tier stays open."""
        if self.follower is not None:
            self.follower.close()
        self.queue.close()


def switched_off(name: str) -> TierState:
    """The state of a tier that is switched off: nothing is wrong with it, and nothing is in it."""
    return TierState(
        name, "off", ok=True, templates=0, seq=0, lag=0, coverage=0.0, since=STARTED, answers=False
    )
