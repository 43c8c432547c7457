"""Making a backup, while Robi runs or stands still."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from core import __version__
from core.backup import erasure_list
from core.backup.container import FRAME, Writer
from core.backup.manifest import ERASURES, LEDGER, BackupPart, Manifest
from core.backup.sealing import Secret
from core.config.settings import Settings
from core.domain.errors import BackupError, BadInput, Conflict, StartError, Unavailable
from core.ledger.file_copy import copied
from core.runtime import disk

PART = ".part"  # after the name of a file that is not whole yet
LEDGER_FILE = "ledger.db"  # in a data directory
FULL = (errno.ENOSPC, errno.EDQUOT)  # what a disk without room says


def back_up(
    data_dir: Path,
    target: Path,
    secret: Secret | None,
    *,
    force: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
) -> Manifest:
    """Write into `target` what a gallery cannot be made again without; it appears there when it is whole.

    That is the ledger, with the photos that it keeps, and the list of erasures. Vector tiers follow the
    ledger, and face models are installed.

    Raises:
        StartError: `data_dir_unusable`, there is no gallery.
        BackupError: `backup_exists` unless `force`; `backup_running`, another backup writes the same file.
        Unavailable: `disk_full`, `ledger_unavailable`. Conflict: `cancelled`.
        BadInput: `bad_parameter`, the file cannot be written.
    """
    if not (data_dir / LEDGER_FILE).exists():
        raise no_gallery()
    if target.exists() and not force:
        raise BackupError("backup_exists", "There is a file of that name.", "Choose another, or add --force.")

    def go_on() -> None:
        if cancelled():
            raise Conflict("cancelled", "The backup was cancelled; nothing of it is kept.", "Start it again.")

    with _written(target) as file, copied(data_dir / LEDGER_FILE, go_on) as (contents, copy):
        # After the ledger: whoever is erased meanwhile is in both, and not in neither.
        erasures = _read(data_dir / erasure_list.NAME)
        parts = [BackupPart(LEDGER, *_measured(copy, go_on))]
        if erasures is not None:
            parts.append(BackupPart(ERASURES, len(erasures), hashlib.sha256(erasures).hexdigest()))
        manifest = Manifest(__version__, datetime.now(UTC), "sqlite", contents, tuple(parts))
        stream = Writer(file, secret)
        manifest.write(stream)
        for block in _blocks(copy, go_on):
            stream.write(block)
        stream.write(erasures or b"")
        stream.finish()
    return manifest


def check_is_a_file(settings: Settings) -> None:
    """Raises BackupError: `backup_of_server`, the ledger is on a server; a file here would be old."""
    if not isinstance(settings.ledger, Path):
        raise BackupError(
            "backup_of_server",
            "The ledger is in PostgreSQL, and not in this directory.",
            "Back PostgreSQL up with pg_dump; docs/operations.md says how.",
        )


def no_gallery() -> StartError:
    return StartError(
        "data_dir_unusable",
        "There is no gallery in that directory.",
        "Name another one with --data-dir or ROBI_DATA_DIR.",
    )


@contextmanager
def _written(target: Path) -> Iterator[BinaryIO]:
    """A private file that becomes `target` when all went well, durably, and is gone when it did not."""
    part = target.with_name(target.name + PART)
    made = False
    try:
        with _opened(part) as file:  # on a full disk even closing it fails
            made = True
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.replace(target)
            made = False
            disk.sync_directory(target.parent)
    except OSError as problem:
        raise _unwritable(problem) from None
    finally:
        if made:
            part.unlink(missing_ok=True)


def _opened(part: Path) -> BinaryIO:
    """Empty and locked; what a killed backup left is used again."""
    found = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    file = os.fdopen(found, "w+b")
    if not _ours(file, part):
        file.close()
        raise BackupError(
            "backup_running", "Another backup is writing this file.", "Wait for it, or name another file."
        )
    os.fchmod(found, 0o600)
    file.truncate(0)
    return file


def _ours(file: BinaryIO, part: Path) -> bool:
    """Whether nobody else writes it; the one that ended this moment has taken its file along."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), part.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _unwritable(problem: OSError) -> Unavailable | BadInput:
    if problem.errno in FULL:
        return Unavailable(
            "disk_full", "The disk is full: there is no backup.", "Make room, or name a file on another disk."
        )
    return BadInput(
        "bad_parameter", f"The backup cannot be written: {problem.strerror}.", "Name another file."
    )


def _measured(copy: BinaryIO, go_on: Callable[[], None]) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    for block in _blocks(copy, go_on):
        size += len(block)
        digest.update(block)
    return size, digest.hexdigest()


def _blocks(file: BinaryIO, go_on: Callable[[], None]) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(FRAME):
        go_on()
        yield block


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
