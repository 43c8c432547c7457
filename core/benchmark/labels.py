"""What settings are called, on pages and in reports alike."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from core.benchmark.model import Setting
from core.domain.search import Strategy

STRATEGY: Mapping[Strategy, str] = MappingProxyType(
    {
        Strategy.HYBRID: "Hybrid",
        Strategy.FAISS_FIRST: "Cache first",
        Strategy.QDRANT_ONLY: "Qdrant only",
    }
)


def parts(setting: Setting) -> dict[str, str]:
    """What of a setting matters to its strategy, in words, by field."""
    said: dict[str, str] = {}
    if setting.strategy is not Strategy.QDRANT_ONLY:
        said["coverage"] = f"{setting.coverage:.0%} cached"
        said["index_type"] = setting.index_type
        if setting.index_type.startswith("IVF"):
            said["nprobe"] = f"nprobe {setting.nprobe}"
    said["search_ef"] = f"ef {setting.search_ef}"
    return said


def full(setting: Setting) -> str:
    """`Hybrid · 100% cached · auto · ef 128`."""
    return " · ".join([STRATEGY[setting.strategy], *parts(setting).values()])
