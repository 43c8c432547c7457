"""Whether there is room to write."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOM_BYTES = 8 << 20  # below it SQLite and Qdrant Edge fail sooner or later, at whatever comes next


def is_full(directory: Path) -> bool:
    """Whether the disk of an existing directory has no room to speak of; False if nobody knows."""
    return free_bytes(directory) < ROOM_BYTES


def free_bytes(directory: Path) -> int:
    """Room on the disk of an existing directory; plenty if nobody knows."""
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return 1 << 62
