"""Health and statistics as the REST contract shapes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from core.domain.system import Health


class ComponentAnswer(BaseModel):
    status: str = Field(description="ok, warming, degraded, off or unavailable.")
    detail: str
    since: datetime
    progress: float | None = Field(None, description="0..1 while warming.")
    last_error: str | None = Field(None, description="What was wrong last, also when it has passed.")
    last_error_at: datetime | None = None


class HealthAnswer(BaseModel):
    status: str = Field(description="ok, degraded or unavailable.")
    components: dict[str, ComponentAnswer]

    @classmethod
    def of(cls, health: Health) -> HealthAnswer:
        return cls(
            status=health.status,
            components={
                part.name: ComponentAnswer(
                    status=part.status,
                    detail=part.detail,
                    since=part.since,
                    progress=part.progress,
                    last_error=part.last_error,
                    last_error_at=part.last_error_at,
                )
                for part in health.components
            },
        )


class SlowAnswer(BaseModel):
    """One of the slowest requests of the last hours; nothing in it is biometric or names anybody."""

    at: datetime
    kind: str = Field(description="search, verification or enrollment.")
    strategy: str | None
    total_ms: float
    stages: dict[str, float] = Field(description="Milliseconds; hybrid asks both tiers at once.")
    request_id: str | None


class ObjectiveAnswer(BaseModel):
    name: str = Field(description="enroll, hot (the cache alone) or cold (Qdrant was asked).")
    requests_are: str
    limit_ms: float
    requests: int
    inside: float | None = Field(description="Share of the requests below the limit.")
    outside: int
    burned_by: dict[str, float] = Field(description="Of those outside, by the stage that took longest.")


class RangeAnswer(BaseModel):
    name: str
    seconds: int
    step: int = Field(description="Seconds of one point.")
    until: float = Field(description="Seconds since 1970.")


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
    gpus: list[dict[str, Any]] = Field(description="Every card that answers.")
    lost_gpus: list[dict[str, Any]] = Field(description="Cards that answered before and no longer do.")
    cpu: dict[str, float | None]
    totals: dict[str, Any] = Field(description="Counts since the start, as `/metrics` has them.")
    range: RangeAnswer
    window: dict[str, Any] = Field(description="Rates, percentiles and shares of the whole range.")
    series: dict[str, Any] = Field(description="The same as points; `t` is the start of each.")
    objectives: list[ObjectiveAnswer]
    slow: list[SlowAnswer]


class ColdPerformance(BaseModel):
    """The cold tier in detail; engines add fields of their own."""

    model_config = ConfigDict(extra="allow")
    mode: str
    points: int | None
    latencies_ms: dict[str, Any]
    seq: int
    seq_lag: int | None = Field(description="null while the ledger cannot be read.")
