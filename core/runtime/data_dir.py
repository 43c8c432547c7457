"""The data directory: whose it is, and that one process at a time uses it."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import IO

from core.domain.errors import StartError
from core.runtime import disk

LOCK = "robi.lock"
_LOOKS = 3  # at a lock that is taken, before it is believed: `holder` takes it for a moment, too
_PAUSE_S = 0.05


class DataDirLock:
    """Held until `close`, or the end of the process, however it ends."""

    def __init__(self, file: IO[str]) -> None:
        """Use `hold`."""
        self._file = file

    def close(self) -> None:
        """Let others in; may be called twice."""
        self._file.close()


def hold(data_dir: Path) -> DataDirLock:
    """Make the data directory if need be, keep it private, and keep other processes out of it.

    Raises:
        StartError: `data_dir_locked`, naming the process that holds it; `data_dir_unusable`.
    """
    file = _opened(data_dir)
    for look in range(1, _LOOKS + 1):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if look == _LOOKS:
                raise _locked(file) from None
            sleep(_PAUSE_S)
    with suppress(OSError):  # on a full disk the lock holds all the same, only its holder stays unnamed
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), f"{os.getpid()}\n".encode())
    return DataDirLock(file)


def holder(data_dir: Path) -> str | None:
    """The number of the process that uses the directory ("unknown" if it left none); None when none does.

    Changes nothing.

    Raises:
        OSError: there is a lock that cannot be read.
    """
    try:
        found = os.open(data_dir / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(found, encoding="utf-8", errors="replace") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who look do not see each other
        except BlockingIOError:
            return _named(file)
    return None


def _opened(data_dir: Path) -> IO[str]:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        disk.keep_private(data_dir)
        if disk.is_anybodys(data_dir):
            raise StartError(
                "data_dir_unusable",
                "The data directory belongs to somebody else, and everybody may write to it.",
                "Set ROBI_DATA_DIR to a directory of your own.",
            )
        # Not through a link: it would be emptied, whatever it leads to.
        found = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        return os.fdopen(found, "r+", encoding="utf-8")
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            raise StartError(
                "data_dir_unusable",
                "In the data directory robi.lock is a link to another file.",
                "Somebody put it there; remove it, and see who may write to that directory.",
            ) from None
        raise StartError(
            "data_dir_unusable",
            f"The data directory cannot be used: {problem.strerror}.",
            "Set ROBI_DATA_DIR to a directory that you may write to.",
        ) from None


def _locked(file: IO[str]) -> StartError:
    with file:
        return StartError(
            "data_dir_locked",
            f"Another Robi, process {_named(file)}, is using this data directory.",
            "Stop it, or set ROBI_DATA_DIR to another directory.",
        )


def _named(file: IO[str]) -> str:
    file.seek(0)
    return file.read(32).strip() or "unknown"
