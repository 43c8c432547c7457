"""How the system is doing, for the API, the pages and Prometheus; and the thread that records it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from core.backup.schedule import BackupSchedule
from core.config.settings import Settings
from core.domain.errors import RobiError
from core.domain.json_values import JsonObject
from core.domain.system import Health
from core.faces.engine import FaceEngine
from core.ledger.ledger import Ledger
from core.metrics.gauges import GaugeKey
from core.metrics.ranges import USUAL, Ranges
from core.metrics.recorder import Recorder
from core.monitoring import prometheus, stats
from core.monitoring.health import HealthWatch
from core.monitoring.snapshot import Gatherer, SystemSnapshot
from core.store.hybrid import HybridVectorStore
from core.store.performance import StoreFigures


class Monitor:
    """Everything it tells of the present is told of one snapshot. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        engine: FaceEngine,
        ledger: Ledger,
        store: HybridVectorStore,
        backups: BackupSchedule,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.started_at = datetime.now(UTC)
        self._store = store
        self._metrics = store.metrics
        self._gatherer = Gatherer(settings, engine, ledger, store, backups, clock)
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

    def report(self, range_: str = USUAL) -> stats.Report:
        """How everything stands, and what was measured in 5min, 15min, 1h, 6h, 24h, 7d or 30d.

        Raises BadInput: `bad_parameter` for an unknown range.
        """
        return stats.Report(self.snapshot(), self._ranges.of(range_), self._metrics.slowest())

    def stats(self, range_: str = USUAL) -> JsonObject:
        """The answer of `/stats`: gallery, tiers, latency, throughput, hit rate, errors, hardware.

        `series`, `window` and `objectives` are those of the range.

        Raises:
            BadInput: `bad_parameter` for an unknown range.
            Unavailable: the ledger cannot be read.
        """
        report = self.report(range_)
        return stats.stats_json(report, self._of_store(report.seen))

    def _of_store(self, seen: SystemSnapshot) -> StoreFigures:
        """How the cold tier's engine is, is asked only here: it may be a network away, and neither health
        nor a scrape may wait for it."""
        if isinstance(seen.ledger.read, RobiError):
            raise seen.ledger.read.with_traceback(None)  # of whoever read the snapshot before
        return StoreFigures(
            gallery=seen.ledger.read,
            tiers=seen.tiers,
            drifts=seen.drifts,
            loads=seen.loads,
            hot_bytes=seen.hot.memory_bytes if seen.hot else 0,
            cold=self._store.cold_state(seen.tiers[-1], lag_is_known=seen.lag_is_known),
            counted=self._metrics.snapshot(),
        )

    def prometheus(self) -> bytes:
        """The Prometheus text exposition; never raises because a part is down."""
        return prometheus.text(self._metrics.counters.registry, prometheus.samples(self.snapshot()))

    def _looked(self) -> dict[GaugeKey, float]:
        """The gauges now; looking also notices what has just broken or healed."""
        seen = self.snapshot()
        self._watch.judge(seen)
        return self._gauges.of(seen)
