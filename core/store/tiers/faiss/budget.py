"""How many templates the hot tier may hold, when it sets that itself."""

from __future__ import annotations

from pathlib import Path

import psutil

from core.config.settings import Settings

SHARE = 0.25  # of the memory that is free at start; building a new index next to the old may double it
FEWEST = 20_000  # templates, however little memory there is
BESIDE_VECTOR = 48  # bytes per template: ids, places, masks, scores of people
CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def capacity_of(settings: Settings, dimension: int) -> int:
    """Templates; a number in the settings is taken as it is."""
    if settings.faiss_cache_size != "auto":
        return settings.faiss_cache_size
    return max(FEWEST, int(SHARE * free_memory()) // bytes_each(dimension))


def bytes_each(dimension: int) -> int:
    """Of memory that a template takes: the float32 vector, an index of at most half its size, the rest."""
    return 4 * dimension + 2 * dimension + BESIDE_VECTOR


def free_memory() -> int:
    """Bytes that this process could use; a container's limit counts if it is lower."""
    free = int(psutil.virtual_memory().available)
    limits = [int(text) for path in CONTAINER_LIMITS if (text := _read(path)).isdigit()]
    return min([free, *limits])


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
