"""Whether each part does what it should, in an operator's words."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime

from core.backup.schedule import BackupState
from core.domain.errors import RobiError
from core.domain.system import ComponentHealth, Health, TierState
from core.domain.wording import count
from core.monitoring.snapshot import SystemSnapshot

_TROUBLE = ("degraded", "unavailable")


class HealthWatch:
    """Judges snapshots, and remembers of each part since when it is as it is, and its last error."""

    def __init__(self, started_at: datetime) -> None:
        self._started_at = started_at
        self._lock = threading.Lock()
        self._last: dict[str, ComponentHealth] = {}

    def judge(self, seen: SystemSnapshot) -> Health:
        """Degraded if anything that should work does not; unavailable if nobody can be recognised."""
        ledger = _ledger(seen, self._started_at)
        components = [
            _faces(seen, self._started_at),
            *(_served(_tier(tier, seen.lag_is_known), tier, seen) for tier in seen.tiers),
            ledger,
            *([] if seen.backups is None else [_backups(seen.backups, seen.at, self._started_at)]),
        ]
        with self._lock:
            judged = tuple(map(self._judged, components))
        if ledger.status == "unavailable" or not any(tier.answers for tier in seen.tiers):
            return Health("unavailable", judged)
        trouble = any(component.status == "degraded" for component in components)
        return Health("degraded" if trouble else "ok", judged)

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


def _faces(seen: SystemSnapshot, started_at: datetime) -> ComponentHealth:
    faces, problem = seen.faces, seen.faces.degraded
    if problem is None and seen.cards.lost and faces.on_gpu:
        problem = seen.cards.lost[0].sentence
    runs_on = faces.provider.removesuffix("ExecutionProvider")  # CPU, CUDA, …
    detail = problem or f"The {faces.pack.id} pack, on {runs_on}."
    return ComponentHealth("faces", "degraded" if problem else "ok", detail, started_at)


def _tier(tier: TierState, lag_is_known: bool) -> ComponentHealth:
    if tier.kind == "off":
        return ComponentHealth(tier.name, "off", "Switched off in the settings.", tier.since)
    if tier.progress is not None:
        return ComponentHealth(tier.name, "warming", tier.error or "Loading.", tier.since, tier.progress)
    held = f"{count(tier.templates, 'template')} ({tier.kind})"
    if not lag_is_known and tier.answers:
        detail = f"{held}. Whether that is all, only the ledger knows."
        return ComponentHealth(tier.name, "ok", detail, tier.since)
    if not tier.ok:
        detail = tier.error or "Not answering."
        behind = f" {count(tier.lag, 'change')} behind." if tier.answers and tier.lag else ""
        return ComponentHealth(tier.name, "degraded", detail + behind, tier.since)
    if tier.lag:
        return ComponentHealth(tier.name, "degraded", f"{count(tier.lag, 'change')} behind.", tier.since)
    return ComponentHealth(tier.name, "ok", f"{held}. {tier.error}" if tier.error else held, tier.since)


def _served(found: ComponentHealth, tier: TierState, seen: SystemSnapshot) -> ComponentHealth:
    """A lost copy is trouble, although nothing else is wrong: the next loss may take the data with it."""
    server = seen.server
    if tier.kind != "server" or server is None or server.lost is None or found.status != "ok":
        return found
    detail = f"It answers, but has lost a copy: {server.lost}."
    return replace(found, status="degraded", detail=detail, since=seen.at)


def _ledger(seen: SystemSnapshot, started_at: datetime) -> ComponentHealth:
    ledger = seen.ledger
    if isinstance(ledger.read, RobiError):
        return ComponentHealth("ledger", "unavailable", ledger.read.message, seen.at)
    if ledger.disk_is_full:
        return ComponentHealth(
            "ledger", "degraded", "The disk is full: nothing more can be enrolled.", seen.at
        )
    if ledger.refusal is not None:
        return ComponentHealth("ledger", "degraded", ledger.refusal, seen.at)
    detail = f"{count(ledger.read.people, 'person', 'people')}, {count(ledger.read.templates, 'template')}"
    return ComponentHealth("ledger", "ok", detail, started_at)


def _backups(backups: BackupState, now: datetime, started_at: datetime) -> ComponentHealth:
    newest = f"{backups.newest:%Y-%m-%d %H:%M} UTC" if backups.newest else None
    if backups.problem is not None:
        kept = f" The newest backup is of {newest}." if newest else " There is no backup yet."
        return ComponentHealth("backup", "degraded", backups.problem + kept, now)
    return ComponentHealth(
        "backup", "ok", f"The newest is of {newest}." if newest else "None yet.", started_at
    )
