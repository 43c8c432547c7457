"""What the store measures of itself, in one JSON-ready dict."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import psutil

from core.domain.people import GalleryCounts
from core.domain.system import TierState
from core.store.search.batching import Load
from core.store.sync.drift import Drift

_PROCESS = psutil.Process(os.getpid())
_MB = 1024 * 1024


def figures(
    gallery: GalleryCounts,
    tiers: Sequence[TierState],
    drifts: Mapping[str, Drift | None],
    loads: Mapping[str, Load],
    memory: Mapping[str, int],
    cold: Mapping[str, Any],
    measured: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "gallery": asdict(gallery),
        "tiers": {tier.name: _tier(tier) for tier in tiers},
        "follower_lag": {tier.name: tier.lag for tier in tiers},
        "drift": {name: _drift(found) for name, found in drifts.items()},
        **measured,
        "queues": {name: _load(load) for name, load in loads.items()},
        "memory": {**_memory(), **memory},
        "qdrant": dict(cold),
    }


def _tier(tier: TierState) -> dict[str, Any]:
    return {**asdict(tier), "since": tier.since.isoformat()}


def _drift(found: Drift | None) -> dict[str, Any] | None:
    return None if found is None else {**asdict(found), "at": found.at.isoformat()}


def _load(load: Load) -> dict[str, Any]:
    mean = round(load.rows / load.batches, 2) if load.batches else None
    return {**asdict(load), "mean_batch": mean}


def _memory() -> dict[str, int]:
    system = psutil.virtual_memory()
    return {
        "rss_mb": _PROCESS.memory_info().rss // _MB,
        "total_mb": system.total // _MB,
        "available_mb": system.available // _MB,
    }
