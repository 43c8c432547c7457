"""Whether there is room to write, and writing so that it lasts."""

from __future__ import annotations

import os
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


def is_anybodys(directory: Path) -> bool:
    """Whether a directory belongs to somebody else and everybody may write to it."""
    found = directory.stat()
    return found.st_uid not in (os.geteuid(), 0) and bool(found.st_mode & 0o002)


def keep_private(path: Path) -> None:
    """Take everybody else's rights on a file or directory away, where it is ours to change.

    A directory that a container mounts may belong to somebody else: then its owner decides.
    """
    found = path.stat(follow_symlinks=False)
    if found.st_uid == os.geteuid() and found.st_mode & 0o077:
        path.chmod(found.st_mode & 0o700)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file as a whole, durably, or leave it as it is."""
    beside = path.with_name(f"{path.name}.part")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make it durable that files were renamed in it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
