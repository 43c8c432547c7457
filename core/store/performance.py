"""What the store measures of itself, in one JSON-ready dict."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import psutil

from core.domain.system import TierState
from core.store.search.batching import Load
from core.store.sync.drift import Drift

if TYPE_CHECKING:
    from core.store.hybrid import HybridVectorStore

_PROCESS = psutil.Process(os.getpid())
_MB = 1024 * 1024


def metrics_of(store: HybridVectorStore) -> dict[str, Any]:
    tiers = store.states()
    return {
        "gallery": asdict(store.gallery()),
        "tiers": {tier.name: _tier(tier) for tier in tiers},
        "follower_lag": {tier.name: tier.lag for tier in tiers},
        "drift": {name: _drift(found) for name, found in store.drifts().items()},
        **store.metrics.snapshot(),
        "queues": {name: _load(load) for name, load in store.loads().items()},
        "memory": {**_memory(), **store.memory()},
        "qdrant": dict(store.cold_info()),
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
