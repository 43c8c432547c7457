"""How the system is doing, for the API, the pages and Prometheus; and the thread that records it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from core.config.settings import Settings
from core.domain.system import Health
from core.faces.engine import FaceEngine
from core.ledger.ledger import Ledger
from core.metrics.ranges import USUAL, Ranges
from core.metrics.recorder import Recorder
from core.monitoring import prometheus, stats
from core.monitoring.health import HealthWatch
from core.monitoring.snapshot import Gatherer, SystemSnapshot
from core.store.hybrid import HybridVectorStore


class Monitor:
    """Everything it tells of the present is told of one snapshot. Thread-safe."""

    def __init__(
        self, settings: Settings, engine: FaceEngine, ledger: Ledger, store: HybridVectorStore
    ) -> None:
        self.started_at = datetime.now(UTC)
        self._store = store
        self._metrics = store.metrics
        self._gatherer = Gatherer(settings, engine, ledger, store)
        self._watch = HealthWatch(self.started_at)
        self._gauges = stats.Gauges()
        self._recorder = Recorder(ledger.history, store.metrics, self._looked)
        self._ranges = Ranges(store.metrics, self._recorder)

    def start(self) -> None:
        """Look at everything every few seconds from now on, and keep what is measured."""
        self._recorder.start()

    def close(self) -> None:
        """Keep what was measured until now. May be called twice, and without a start."""
        self._recorder.close()

    def snapshot(self) -> SystemSnapshot:
        return self._gatherer.snapshot()

    def health(self) -> Health:
        """Degraded if anything that should work does not; unavailable if nobody can be recognised."""
        return self._watch.judge(self.snapshot())

    def stats(self, range_: str = USUAL) -> dict[str, Any]:
        """Gallery, tiers, latency, throughput, hit rate, errors, hardware: JSON-ready.

        `series`, `window` and `objectives` are those of the range: 5min, 15min, 1h, 6h, 24h, 7d or 30d.

        Raises:
            BadInput: `bad_parameter` for an unknown range.
            Unavailable: the ledger cannot be read.
        """
        found = self._store.get_performance_metrics()
        measured = self.measured(range_)
        return {**found, **measured, "memory": {**found["memory"], **measured["memory"]}}

    def measured(self, range_: str = USUAL) -> dict[str, Any]:
        """That part of `stats` which needs no ledger, for when it cannot be read. Raises BadInput."""
        found = self._ranges.of(range_)
        slow = [{**asdict(one), "at": one.at.isoformat()} for one in self._metrics.slowest()]
        return {
            **found,
            "objectives": found["window"]["objectives"],
            "slow": slow,
            **stats.told(self.snapshot()),
        }

    def gpu(self) -> dict[str, Any]:
        """The NVIDIA card in use, or why there is none."""
        return stats.gpu(self.snapshot())

    def prometheus(self) -> bytes:
        """The Prometheus text exposition; never raises because a part is down."""
        return prometheus.text(self._metrics.counters.registry, prometheus.samples(self.snapshot()))

    def _looked(self) -> dict[str, float]:
        """The gauges now; looking also notices what has just broken or healed."""
        seen = self.snapshot()
        self._watch.judge(seen)
        return self._gauges.of(seen)
