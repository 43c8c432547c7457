"""What the store tells of itself: typed until it becomes the JSON of `/stats` and of programs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from core.domain.json_values import Json, JsonObject, json_object, json_ready
from core.domain.people import GalleryCounts
from core.domain.system import TierState
from core.metrics.figures import MetricsSnapshot, Series
from core.store.contract import ColdTier, TierDown
from core.store.search.batching import Load
from core.store.search.tier_runtime import TierRuntime
from core.store.sync.drift import Drift

_PROCESS = psutil.Process(os.getpid())
_MB = 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class ColdState:
    """The cold tier in detail."""

    mode: str  # edge, server
    ok: bool
    error: str | None  # in an operator's words
    points: int | None  # None while it does not answer
    latencies_ms: Mapping[str, float | None]  # p50, p95, p99 of the latest batches
    seq: int
    seq_lag: int | None  # None while the ledger cannot be read
    engine: Mapping[str, Json]  # what this kind of engine says: segments, index, restarts, errors, …

    @classmethod
    def of(cls, runtime: TierRuntime, tier: ColdTier, state: TierState, *, lag_is_known: bool) -> ColdState:
        """`state` with what the engine says now; never raises because it is down."""
        error, counted = state.error, state.templates if state.answers else None
        try:
            engine = tier.info()
        except TierDown as problem:
            engine, counted, error = {}, None, problem.message
        points = engine.get("points", counted)
        return cls(
            mode=state.kind,
            ok=runtime.projection.ok,
            error=error,
            points=points if isinstance(points, int) else None,
            latencies_ms=runtime.latencies_ms(),
            seq=state.seq,
            seq_lag=state.lag if lag_is_known else None,
            engine=engine,
        )


@dataclass(frozen=True, slots=True, eq=False)
class StoreFigures:
    """The gallery, both tiers, the queues, and what was measured of searches."""

    gallery: GalleryCounts
    tiers: tuple[TierState, ...]
    drifts: Mapping[str, Drift | None]
    loads: Mapping[str, Load]
    hot_bytes: int  # memory of the hot tier; 0 when it is off
    cold: ColdState
    counted: MetricsSnapshot


def store_json(found: StoreFigures) -> JsonObject:
    """All of it but the memory, which `hot_memory` is a part of, and the points of a series."""
    return {
        "gallery": json_ready(found.gallery),
        "tiers": {tier.name: json_ready(tier) for tier in found.tiers},
        "follower_lag": {tier.name: tier.lag for tier in found.tiers},
        "drift": json_ready(found.drifts),
        **json_object(found.counted),
        "queues": {name: _load(load) for name, load in found.loads.items()},
        "qdrant": cold_json(found.cold),
    }


def store_alone_json(found: StoreFigures, series: Series) -> JsonObject:
    """The same for who has the store and no monitor: with its process's memory, and the last 15 minutes."""
    memory = {**_process_memory(), **hot_memory(found)}
    return {**store_json(found), "memory": memory, "series": json_ready(series)}


def hot_memory(found: StoreFigures) -> dict[str, int]:
    """Bytes that the hot tier takes, in all and for one template."""
    held, taken = found.tiers[0].templates, found.hot_bytes
    return {"hot_bytes": taken, "hot_bytes_per_template": taken // held if held else 0}


def cold_json(cold: ColdState) -> JsonObject:
    told = json_object(cold)
    del told["engine"]  # whose figures stand among the others
    return {**json_object(cold.engine), **told}


def _load(load: Load) -> JsonObject:
    mean = round(load.rows / load.batches, 2) if load.batches else None
    return {**json_object(load), "mean_batch": mean}


def _process_memory() -> dict[str, int]:
    system = psutil.virtual_memory()
    return {
        "rss_mb": _PROCESS.memory_info().rss // _MB,
        "total_mb": system.total // _MB,
        "available_mb": system.available // _MB,
    }
