"""By what a gauge is kept: what it tells, and of which card, queue or tier where there are several."""

from __future__ import annotations

import re
from dataclasses import dataclass

CPU, PROCESS = "cpu_percent", "process_percent"
RSS, CHILDREN = "rss_mb", "children_mb"
QUEUED, BATCH = "queued", "batch"  # of a queue
TEMPLATES, LAG, COVERAGE = "templates", "lag", "coverage"  # of a tier
CARD = ("utilisation_percent", "memory_used_mb", "temperature_c", "power_w")  # of a GPU, by its index
UTILISATION, MEMORY_USED, TEMPERATURE, POWER = CARD
LIVE_SESSIONS, COMPARISONS = "live_sessions", "comparisons_running"

_OF_CARD = re.compile(rf"gpu\.(?P<of>[^.]+)\.(?P<what>{'|'.join(CARD)})")
_OF_ONE = re.compile(r"(?P<what>[^.]+)\.(?P<of>.+)")


@dataclass(frozen=True, slots=True, order=True)
class GaugeKey:
    what: str
    of: str = ""  # empty where there is only one

    def __str__(self) -> str:
        """The name in the history and in `/stats`: `gpu.0.power_w`, `lag.qdrant`, `rss_mb`."""
        if not self.of:
            return self.what
        return f"gpu.{self.of}.{self.what}" if self.what in CARD else f"{self.what}.{self.of}"

    @classmethod
    def kept(cls, name: str) -> GaugeKey:
        """The key of a name that the history has kept."""
        found = _OF_CARD.fullmatch(name) or _OF_ONE.fullmatch(name)
        return cls(found["what"], found["of"]) if found else cls(name)
