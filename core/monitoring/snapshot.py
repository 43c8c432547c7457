"""What Robi knows of itself at one moment, gathered once for all who tell of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from core.backup.schedule import BackupSchedule, BackupState
from core.config.settings import Settings
from core.domain.errors import RobiError
from core.domain.faces import PackInfo
from core.domain.people import GalleryCounts
from core.domain.system import ServerState, TierState
from core.faces.engine import FaceEngine
from core.ledger.ledger import Ledger
from core.runtime import disk
from core.runtime.hardware import Cards, Gpu, GpuSampler, LostGpu, Machine, MachineSampler, nvidia_library
from core.store.hybrid import HybridVectorStore
from core.store.search.batching import Load
from core.store.sync.drift import Drift
from core.store.tiers.faiss.tier import HotState

FRESH_S = 1.0  # however many pages, scrapes and requests ask


@dataclass(frozen=True, slots=True)
class FacesState:
    pack: PackInfo
    provider: str  # of onnxruntime: CPUExecutionProvider, CUDAExecutionProvider, …
    degraded: str | None  # why it does not run where it was to run

    @property
    def on_gpu(self) -> bool:
        return self.provider.startswith("CUDA")


@dataclass(frozen=True, slots=True)
class LedgerState:
    read: GalleryCounts | RobiError  # what it holds, or why it cannot be read
    refusal: str | None  # why it cannot be written, as far as is known
    free_bytes: int  # on the disk of the data directory

    @property
    def counts(self) -> GalleryCounts | None:
        return None if isinstance(self.read, RobiError) else self.read

    @property
    def disk_is_full(self) -> bool:
        return self.free_bytes < disk.ROOM_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class SystemSnapshot:
    """Every part as it was at `at`. Two renderers of one snapshot cannot contradict each other."""

    at: datetime
    faces: FacesState
    ledger: LedgerState
    backups: BackupState | None  # None when none are scheduled
    tiers: tuple[TierState, ...]
    lag_is_known: bool  # and coverage: where the ledger cannot be read, nobody can say
    drifts: Mapping[str, Drift | None]
    hot: HotState | None
    server: ServerState | None  # of the cold tier
    loads: Mapping[str, Load]
    machine: Machine
    cards: Cards
    wanted_gpu: int  # index
    cache: Mapping[str, int]  # how the hot tier has served searches since the start
    watched: Mapping[str, float]  # cameras, comparisons

    @property
    def gpu(self) -> Gpu | None:
        """The card in use."""
        return next((card for card in self.cards.gpus if card.index == self.wanted_gpu), None)

    @property
    def lost_gpu(self) -> LostGpu | None:
        """The card that was in use, if it does not answer any more."""
        return next((card for card in self.cards.lost if card.index == self.wanted_gpu), None)

    @property
    def why_no_gpu(self) -> str:
        """Why there is no card in use, in an operator's words."""
        if self.lost_gpu is not None:
            return self.lost_gpu.sentence
        return self.cards.reason or f"CPU mode: there is no GPU {self.wanted_gpu}."


class Gatherer:
    """Asks every part, once a second at most. Thread-safe; raises nothing that a part can suffer."""

    def __init__(
        self,
        settings: Settings,
        engine: FaceEngine,
        ledger: Ledger,
        store: HybridVectorStore,
        backups: BackupSchedule,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._ledger = ledger
        self._store = store
        self._backups = backups
        self._clock = clock
        self._gpus = GpuSampler(nvidia_library())
        self._machine = MachineSampler()
        self._turn = threading.Lock()
        self._newest: tuple[float, SystemSnapshot] | None = None

    def snapshot(self) -> SystemSnapshot:
        with self._turn:
            now = self._clock()
            if self._newest is None or now - self._newest[0] >= FRESH_S:
                self._newest = (now, self._gathered())
            return self._newest[1]

    def _gathered(self) -> SystemSnapshot:
        tiers, lag_is_known = self._tiers()
        engine, store = self._engine, self._store
        return SystemSnapshot(
            at=datetime.now(UTC),
            faces=FacesState(engine.pack, engine.provider, engine.degraded),
            ledger=self._ledger_state(),
            backups=self._backups.state(),
            tiers=tiers,
            lag_is_known=lag_is_known,
            drifts=store.upkeep.drifts(),
            hot=self._hot_state(),
            server=store.upkeep.server,
            loads=store.loads(),
            machine=self._machine.sample(),
            cards=self._gpus.sample(),
            wanted_gpu=self._settings.gpu_device_id,
            cache=store.metrics.cache(),
            watched=store.metrics.watched(),
        )

    def _tiers(self) -> tuple[tuple[TierState, ...], bool]:
        try:
            return self._store.states(), True
        except RobiError:
            return self._store.states_alone(), False

    def _ledger_state(self) -> LedgerState:
        free, refusal = disk.free_bytes(self._settings.robi_data_dir), self._ledger.write_problem()
        refused = refusal.message if refusal else None
        try:
            return LedgerState(self._ledger.feed.counts(), refused, free)
        except RobiError as problem:
            return LedgerState(problem, refused, free)

    def _hot_state(self) -> HotState | None:
        hot = self._store.hot
        return None if hot is None else hot.state
