"""The slowest requests of the last hours, stage by stage. No names, no ids of people, nothing biometric."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

KEPT = 50  # of each kind
HOURS = 6
_HOUR_S = 3600.0

SEARCH, VERIFICATION, ENROLLMENT = "search", "verification", "enrollment"
KINDS = (SEARCH, VERIFICATION, ENROLLMENT)


@dataclass(frozen=True, slots=True)
class SlowRequest:
    """`stages` in milliseconds. `hybrid` asks both tiers at once, so its stages may add up to more."""

    at: datetime
    kind: str
    strategy: str | None
    total_ms: float
    stages: Mapping[str, float]
    request_id: str | None


@dataclass(slots=True)
class _Hour:
    number: float
    worst: dict[str, list[tuple[float, int, float, SlowRequest]]] = field(
        default_factory=lambda: defaultdict(list)
    )


class Slowest:
    """Not thread-safe: the owner holds a lock. Times are the monotonic clock's."""

    def __init__(self) -> None:
        self._hours: deque[_Hour] = deque(maxlen=HOURS + 1)
        self._noted = 0

    def wants(self, kind: str, ms: float, now: float) -> bool:
        """Whether a request is among the worst of this hour: quick, for it is asked of every one."""
        worst = self._hour(now).worst[kind]
        return len(worst) < KEPT or ms > worst[0][0]

    def note(self, request: SlowRequest, now: float) -> None:
        """Keep a request that is wanted."""
        self._noted += 1
        worst = self._hour(now).worst[request.kind]
        entry = (request.total_ms, self._noted, now, request)
        if len(worst) < KEPT:
            heapq.heappush(worst, entry)
        else:
            heapq.heapreplace(worst, entry)

    def worst(self, now: float) -> tuple[SlowRequest, ...]:
        """The worst KEPT of each kind in the last HOURS, slowest first."""
        found: list[SlowRequest] = []
        for kind in KINDS:
            entries = [entry for hour in self._hours for entry in hour.worst.get(kind, ())]
            recent = [entry for entry in entries if now - entry[2] <= HOURS * _HOUR_S]
            found += [entry[3] for entry in heapq.nlargest(KEPT, recent)]
        return tuple(sorted(found, key=lambda request: request.total_ms, reverse=True))

    def _hour(self, now: float) -> _Hour:
        number = now // _HOUR_S
        if not self._hours or self._hours[-1].number != number:
            self._hours.append(_Hour(number))
        return self._hours[-1]
