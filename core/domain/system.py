"""How the parts of Robi are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class TierState:
    """Where one vector tier stands against the ledger."""

    name: str  # "faiss" or "qdrant"
    kind: str  # "Flat", "SQfp16", "edge", "server", ...
    ok: bool
    templates: int
    seq: int
    lag: int  # changes committed and not yet applied
    coverage: float  # share of the gallery's templates in this tier, 0..1
    since: datetime  # of the present `ok`
    answers: bool  # searches ask it: also while it is behind, or short of something that was asked for
    progress: float | None = None  # 0..1 while it loads; None otherwise
    error: str | None = None  # in an operator's words


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    name: str  # faces, faiss, qdrant, ledger; backup, where backups are scheduled
    status: str  # ok, warming, degraded, off, unavailable
    detail: str  # one sentence for an operator
    since: datetime
    progress: float | None = None  # 0..1 while warming
    last_error: str | None = None  # what was wrong last, also when it has passed
    last_error_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Health:
    status: str  # ok, degraded, unavailable
    components: tuple[ComponentHealth, ...]
