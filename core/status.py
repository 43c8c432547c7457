"""How the system is doing: one snapshot for the API, the pages and the status line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psutil

from core import disk
from core.errors import RobiError
from core.types import ComponentHealth, Health, TierState

if TYPE_CHECKING:
    from core.service import RobiService

_MB = 1024 * 1024


def health(service: RobiService) -> Health:
    """Degraded if anything that should work does not; unavailable if nobody can be recognised."""
    try:
        tiers = service.store.states()
    except RobiError:  # the ledger cannot be read, which it says itself
        tiers = ()
    components = [_faces(service), *(_tier(tier) for tier in tiers), _ledger(service)]
    ledger_down = components[-1].status == "unavailable"
    if ledger_down or not any(tier.answers for tier in tiers):
        status = "unavailable"
    elif any(component.status == "degraded" for component in components):
        status = "degraded"
    else:
        status = "ok"
    return Health(status, tuple(components))


def stats(service: RobiService) -> dict[str, Any]:
    """JSON-ready: the same numbers for `/stats`, the monitoring page and the overview."""
    pack = service.engine.pack
    return {
        **service.store.get_performance_metrics(),
        "cpu": {"percent": psutil.cpu_percent(), "cores": psutil.cpu_count() or 1},
        "gpu": service.gpu(),
        "faces": {
            "pack": pack.id,
            "provider": service.engine.provider,
            "dimension": pack.dimension,
            "licence": pack.licence,
        },
    }


def gpu(device_id: int) -> dict[str, Any]:
    """The NVIDIA GPU in use, or why there is none: never zeros that look like an idle one."""
    try:
        import pynvml
    except ImportError:
        return {"available": False, "name": None, "reason": "CPU mode: installed without GPU support."}
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(device_id)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return {
            "available": True,
            "name": pynvml.nvmlDeviceGetName(handle),
            "reason": None,
            "utilisation_percent": pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "memory_used_mb": memory.used // _MB,
            "memory_total_mb": memory.total // _MB,
        }
    except pynvml.NVMLError:
        return {"available": False, "name": None, "reason": "CPU mode: no NVIDIA driver answers."}


def _faces(service: RobiService) -> ComponentHealth:
    problem = service.engine.degraded
    detail = problem or f"{service.engine.pack.id} on {service.engine.provider}"
    return ComponentHealth("faces", "degraded" if problem else "ok", detail, service.started_at)


def _tier(tier: TierState) -> ComponentHealth:
    if tier.kind == "off":
        return ComponentHealth(tier.name, "off", "Switched off in the settings.", tier.since)
    if tier.progress is not None:
        return ComponentHealth(tier.name, "warming", tier.error or "Loading.", tier.since, tier.progress)
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
