"""Health and statistics as the REST contract shapes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from core.types import Health


class ComponentAnswer(BaseModel):
    status: str = Field(description="ok, warming, degraded, off or unavailable.")
    detail: str
    since: datetime
    progress: float | None = Field(None, description="0..1 while warming.")


class HealthAnswer(BaseModel):
    status: str = Field(description="ok, degraded or unavailable.")
    components: dict[str, ComponentAnswer]

    @classmethod
    def of(cls, health: Health) -> HealthAnswer:
        return cls(
            status=health.status,
            components={
                part.name: ComponentAnswer(
                    status=part.status, detail=part.detail, since=part.since, progress=part.progress
                )
                for part in health.components
            },
        )


class StatsAnswer(BaseModel):
    """More may be added; what is here stays."""

    model_config = ConfigDict(extra="allow")
    gallery: dict[str, int]
    tiers: dict[str, dict[str, Any]] = Field(description="Size, coverage, seq and lag of each tier.")
    latency: dict[str, Any] = Field(description="p50, p95 and p99 in ms, by strategy and by stage.")
    throughput: dict[str, float]
    queues: dict[str, Any] = Field(description="Waiting now, and batches so far, of searches and tiers.")
    follower_lag: dict[str, int] = Field(description="Changes that a tier has not applied yet.")
    drift: dict[str, Any] = Field(description="What the last comparison with the ledger found, by tier.")
    hit_rate: dict[str, int | float | None]
    errors: dict[str, int] = Field(description="How often each error code was answered since the start.")
    error_rate: float | None = Field(description="Share of the latest searches that failed.")
    qdrant: dict[str, Any] = Field(description="As `/performance/qdrant`.")
    memory: dict[str, Any]
    gpu: dict[str, Any]


class ColdPerformance(BaseModel):
    """The cold tier in detail; engines add fields of their own."""

    model_config = ConfigDict(extra="allow")
    mode: str
    points: int | None
    latencies_ms: dict[str, Any]
    seq: int
    seq_lag: int
