"""How the system is doing: one snapshot for the API, the pages and the status line."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.domain.errors import RobiError
from core.domain.system import ComponentHealth, Health, TierState
from core.metrics.ranges import USUAL, Ranges
from core.metrics.recorder import Recorder
from core.runtime import disk
from core.runtime.hardware import Cards, Gpu, GpuSampler, MachineSampler
from core.store.search.batching import Load

if TYPE_CHECKING:
    from core.services.service import RobiService

_TROUBLE = ("degraded", "unavailable")
_GPU_GAUGES = ("utilisation_percent", "memory_used_mb", "temperature_c", "power_w")


class Status:
    """Looks at everything every few seconds, keeps what was measured, and tells. Thread-safe."""

    def __init__(self, service: RobiService) -> None:
        self._service = service
        self._gpus = GpuSampler()
        self._machine = MachineSampler()
        self._watch = _Watch()
        self._loads: dict[str, Load] = {}
        self._recorder = Recorder(service.ledger.history, service.metrics, self._look)
        self._ranges = Ranges(service.metrics, self._recorder)
        self._recorder.start()

    def close(self) -> None:
        """Keep what was measured until now. May be called twice."""
        self._recorder.close()

    def health(self) -> Health:
        """Degraded if anything that should work does not; unavailable if nobody can be recognised."""
        tiers, readable = self._tiers()
        components = [
            _faces(self._service, self.cards()),
            *(_tier(tier, readable) for tier in tiers),
            _ledger(self._service),
        ]
        return Health(_overall(components, tiers), self._watch.judge(components))

    def stats(self, range_: str = USUAL) -> dict[str, Any]:
        """JSON-ready: the same numbers for `/stats`, the monitoring page and the overview.

        Raises:
            BadInput: `bad_parameter` for an unknown range.
            Unavailable: the ledger cannot be read.
        """
        found = self._service.store.get_performance_metrics()
        measured = self.measured(range_)
        return {**found, **measured, "memory": {**found["memory"], **measured["memory"]}}

    def measured(self, range_: str = USUAL) -> dict[str, Any]:
        """That part of `stats` which needs no ledger, for when it cannot be read. Raises BadInput."""
        service, pack, machine = self._service, self._service.engine.pack, self._machine.sample()
        found = self._ranges.of(range_)
        return {
            **found,
            "objectives": found["window"]["objectives"],
            "slow": [
                {**asdict(request), "at": request.at.isoformat()} for request in service.metrics.slowest()
            ],
            "memory": {
                "rss_mb": machine.rss_mb,
                "children_mb": machine.children_mb,
                "available_mb": machine.available_mb,
                "total_mb": machine.total_mb,
            },
            "cpu": {
                "percent": machine.cpu_percent,
                "process_percent": machine.process_percent,
                "cores": machine.cores,
            },
            "gpu": self.gpu(),
            "gpus": [asdict(gpu) for gpu in self.cards().gpus],
            "lost_gpus": [
                {**asdict(lost), "since": lost.since.isoformat(), "sentence": lost.sentence}
                for lost in self.cards().lost
            ],
            **service.metrics.watched(),
            "faces": {
                "pack": pack.id,
                "provider": service.engine.provider,
                "dimension": pack.dimension,
                "licence": pack.licence,
            },
        }

    def cards(self) -> Cards:
        """The NVIDIA cards that answer, those that no longer do, or why there is none."""
        return self._gpus.sample()

    def gpu(self) -> dict[str, Any]:
        """The card in use, or why there is none: never zeros that look like an idle one."""
        cards, wanted = self.cards(), self._service.settings.gpu_device_id
        for gpu in cards.gpus:
            if gpu.index == wanted:
                return {"available": True, "lost": False, "reason": None, **asdict(gpu)}
        lost = next((card.sentence for card in cards.lost if card.index == wanted), None)
        reason = lost or cards.reason or f"CPU mode: there is no GPU {wanted}."
        return {"available": False, "lost": lost is not None, "name": None, "reason": reason}

    def _tiers(self) -> tuple[tuple[TierState, ...], bool]:
        """The tiers, and whether the ledger could be read to say where they stand against it."""
        try:
            return self._service.store.states(), True
        except RobiError:
            return self._service.store.states_alone(), False

    def _look(self) -> dict[str, float]:
        """The gauges now; looking also notices what has just broken or healed."""
        self.health()
        machine, service = self._machine.sample(), self._service
        load = {"cpu_percent": machine.cpu_percent, "process_percent": machine.process_percent}
        return {
            **{name: percent for name, percent in load.items() if percent is not None},
            "rss_mb": machine.rss_mb,
            "children_mb": machine.children_mb,
            **service.metrics.watched(),
            **dict(_gpu_gauges(self.cards().gpus)),
            **dict(self._queue_gauges()),
            **dict(_tier_gauges(*self._tiers())),
        }

    def _queue_gauges(self) -> Iterator[tuple[str, float]]:
        for name, load in self._service.store.loads().items():
            before = self._loads.get(name, Load(0, 0, 0))
            self._loads[name] = load
            yield f"queued.{name}", load.queued
            if load.batches > before.batches:
                yield f"batch.{name}", (load.rows - before.rows) / (load.batches - before.batches)


class _Watch:
    """Remembers of each component since when it is as it is, and its last error."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, ComponentHealth] = {}

    def judge(self, components: list[ComponentHealth]) -> tuple[ComponentHealth, ...]:
        with self._lock:
            return tuple(map(self._judged, components))

    def _judged(self, now: ComponentHealth) -> ComponentHealth:
        before = self._last.get(now.name)
        since, error, error_at = now.since, None, None
        if before is not None:
            error, error_at = before.last_error, before.last_error_at
            if before.status == now.status and now.status in _TROUBLE:
                since = min(before.since, now.since)
        if now.status in _TROUBLE and now.detail != error:
            error, error_at = now.detail, datetime.now(UTC)
        judged = replace(now, since=since, last_error=error, last_error_at=error_at)
        self._last[now.name] = judged
        return judged


def _overall(components: list[ComponentHealth], tiers: tuple[TierState, ...]) -> str:
    if components[-1].status == "unavailable" or not any(tier.answers for tier in tiers):
        return "unavailable"
    return "degraded" if any(component.status == "degraded" for component in components) else "ok"


def _faces(service: RobiService, cards: Cards) -> ComponentHealth:
    problem = service.engine.degraded
    if problem is None and cards.lost and service.engine.provider.startswith("CUDA"):
        problem = cards.lost[0].sentence
    runs_on = service.engine.provider.removesuffix("ExecutionProvider")  # CPU, CUDA, …
    detail = problem or f"The {service.engine.pack.id} pack, on {runs_on}."
    return ComponentHealth("faces", "degraded" if problem else "ok", detail, service.started_at)


def _tier(tier: TierState, ledger_readable: bool) -> ComponentHealth:
    if tier.kind == "off":
        return ComponentHealth(tier.name, "off", "Switched off in the settings.", tier.since)
    if tier.progress is not None:
        return ComponentHealth(tier.name, "warming", tier.error or "Loading.", tier.since, tier.progress)
    if not ledger_readable and tier.answers:
        detail = f"{tier.templates} templates ({tier.kind}). Whether that is all, only the ledger knows."
        return ComponentHealth(tier.name, "ok", detail, tier.since)
    if not tier.ok:
        return ComponentHealth(tier.name, "degraded", tier.error or "Not answering.", tier.since)
    if tier.lag:
        return ComponentHealth(tier.name, "degraded", f"{tier.lag} changes behind.", tier.since)
    detail = f"{tier.templates} templates ({tier.kind})"
    return ComponentHealth(tier.name, "ok", f"{detail}. {tier.error}" if tier.error else detail, tier.since)


def _ledger(service: RobiService) -> ComponentHealth:
    try:
        counts = service.ledger.counts()
    except RobiError as problem:
        return ComponentHealth("ledger", "unavailable", problem.message, datetime.now(UTC))
    if disk.is_full(service.settings.robi_data_dir):
        return ComponentHealth(
            "ledger", "degraded", "The disk is full: nothing more can be enrolled.", datetime.now(UTC)
        )
    if (refusal := service.ledger.write_problem()) is not None:
        return ComponentHealth("ledger", "degraded", refusal.message, datetime.now(UTC))
    detail = f"{counts.people} people, {counts.templates} templates"
    return ComponentHealth("ledger", "ok", detail, service.started_at)


def _tier_gauges(tiers: tuple[TierState, ...], ledger_readable: bool) -> Iterator[tuple[str, float]]:
    for tier in tiers:
        if tier.kind == "off":
            continue
        yield f"templates.{tier.name}", tier.templates
        if ledger_readable:
            yield f"lag.{tier.name}", tier.lag
            yield f"coverage.{tier.name}", tier.coverage


def _gpu_gauges(gpus: tuple[Gpu, ...]) -> Iterator[tuple[str, float]]:
    for gpu in gpus:
        for name in _GPU_GAUGES:
            if (value := getattr(gpu, name)) is not None:
                yield f"gpu.{gpu.index}.{name}", value
