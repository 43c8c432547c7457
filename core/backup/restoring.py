"""Reading a backup through, and making a gallery of it again."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from core.backup import erasure_list
from core.backup.container import FRAME, Reader
from core.backup.making import FULL, LEDGER_FILE
from core.backup.manifest import ERASURES, LEDGER, BackupPart, Manifest
from core.backup.sealing import Secret, damaged
from core.domain.errors import BackupError, BadInput, StartError, Unavailable
from core.domain.faces import PackInfo
from core.ledger.file_copy import LedgerContents, contents_of, examined
from core.ledger.ledger import Ledger
from core.ledger.migrations import HEAD
from core.runtime import data_dir as directory
from core.runtime import disk

RESTORING = "restoring"  # in a data directory: what is not whole yet; what a killed restore left is removed
_HARMLESS = {directory.LOCK, erasure_list.NAME, RESTORING, "packs", "lost+found"}

Write = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Verified:
    manifest: Manifest
    encrypted: bool


@dataclass(frozen=True, slots=True)
class Restored:
    manifest: Manifest
    erased_again: int  # people who had been erased after the backup was made
    lists: (
        int  # lists of erasures that were found outside the backup; with none, nobody could be erased again
    )
    listed_until: datetime | None  # when the newest of them was last written


def verify(backup: Path, secret: Secret | None) -> Verified:
    """Read all of a backup, compare every digest, and examine the ledger in it.

    Raises:
        BackupError: what is wrong with it. StartError: `ledger_too_new`.
        Unavailable: `disk_full`: TMPDIR takes the ledger for as long as it is examined.
        BadInput: `bad_parameter`, the file cannot be read.
    """
    with _read(backup) as file:
        stream = Reader(file, secret)
        manifest = _manifest(stream)
        found = _examined(stream, manifest)
    if found != manifest.ledger:
        raise damaged()
    return Verified(manifest, stream.encrypted)


def restore(backup: Path, data_dir: Path, secret: Secret | None, lists: Sequence[Path]) -> Restored:
    """Make a gallery of a backup in a directory that has none, without anybody who was erased since.

    The erasures are those of `lists`, of the directory's own list, and of this gallery's beside the backup.
    All of the backup is read before the directory is touched; the ledger appears in it when it is finished.

    Raises:
        BackupError: `gallery_exists`, `erasures_unusable`, or what is wrong with the backup.
        StartError: `ledger_too_new`, `data_dir_locked`, `data_dir_unusable`.
        Unavailable: `disk_full`, `ledger_unavailable`. BadInput: `bad_parameter`.
    """
    _refuse_gallery(data_dir)
    manifest = _read_through(backup, secret)
    sources = [*lists, *_lists_found(backup, data_dir, manifest.ledger.gallery_id or "")]
    if manifest.ledger.gallery_id is not None:  # refused before anything is made
        for source in sources:
            erasure_list.read(source, manifest.ledger.gallery_id)
    written = [datetime.fromtimestamp(source.stat().st_mtime, UTC) for source in sources]
    with _held(data_dir), _staging(data_dir / RESTORING) as staged:
        _refuse_gallery(data_dir)  # again: somebody may have been faster
        again = _unpacked(backup, secret, manifest, staged, sources)
        for name in (erasure_list.NAME, LEDGER_FILE):  # the ledger last: with it there is a gallery
            (staged / name).replace(data_dir / name)
        disk.sync_directory(data_dir)
    return Restored(manifest, again, len(sources), max(written, default=None))


def _refuse_gallery(data_dir: Path) -> None:
    there = {entry.name for entry in data_dir.iterdir()} if data_dir.is_dir() else set()
    if there - _HARMLESS:
        raise BackupError(
            "gallery_exists",
            "The data directory is not empty: there is, or was, a gallery in it.",
            "Name an empty one with --data-dir or ROBI_DATA_DIR, or move what is there away.",
        )


def _lists_found(backup: Path, data_dir: Path, gallery_id: str) -> list[Path]:
    """Several galleries may have their backups in one place; one data directory is one gallery's."""
    own, beside = data_dir / erasure_list.NAME, backup.parent / erasure_list.NAME
    found = [own] if own.exists() else []
    if beside.exists() and not erasure_list.is_anothers(beside, gallery_id):
        found.append(beside)
    return found


def _read_through(backup: Path, secret: Secret | None) -> Manifest:
    """The manifest, once every byte of the backup has been read and compared."""
    with _read(backup) as file:
        stream = Reader(file, secret)
        manifest = _manifest(stream)
        for part in manifest.parts:
            _copy(stream, part, lambda _: None)
        stream.finish()
    return manifest


def _examined(stream: Reader, manifest: Manifest) -> LedgerContents | None:
    found = None
    for part in manifest.parts:
        if part.name == LEDGER:
            found = _looked_into(stream, part)
        else:
            _copy(stream, part, lambda _: None)
    stream.finish()
    return found


def _looked_into(stream: Reader, part: BackupPart) -> LedgerContents:
    return _whole(lambda: examined(lambda file: _copy(stream, part, file.write)))


def _unpacked(
    backup: Path, secret: Secret | None, manifest: Manifest, staged: Path, lists: Sequence[Path]
) -> int:
    """Have ledger and list of erasures in `staged`; how many people were erased again."""
    kept = bytearray()
    with _read(backup) as file:
        stream = Reader(file, secret)
        if _manifest(stream) != manifest:
            raise damaged()
        for part in manifest.parts:
            if part.name == LEDGER:
                with (staged / LEDGER_FILE).open("xb") as ledger:
                    _copy(stream, part, ledger.write)
                    ledger.flush()
                    os.fsync(ledger.fileno())
            else:
                _copy(stream, part, kept.extend if part.name == ERASURES else lambda _: None)
        stream.finish()
    if _whole(lambda: contents_of(staged / LEDGER_FILE)) != manifest.ledger:
        raise damaged()
    return _without_erased(staged, manifest.ledger, bytes(kept), lists)


def _without_erased(staged: Path, contents: LedgerContents, kept: bytes, lists: Sequence[Path]) -> int:
    """Erase again whoever is in a list, and write one list of them all."""
    pack = PackInfo(contents.pack_id, contents.pack_digest, contents.dimension, licence="")
    ledger = Ledger.open(staged / LEDGER_FILE, pack)
    try:
        gallery = ledger.feed.gallery_id
        listed = erasure_list.parsed(kept, gallery).persons if kept else frozenset()
        if contents.gallery_id is not None:
            listed = listed.union(*(erasure_list.read(path, gallery).persons for path in lists))
        gone = [p.user_id for p in ledger.erased.living() if erasure_list.person_key(gallery, p) in listed]
        for user_id in gone:
            ledger.people.erase(user_id)
    finally:
        ledger.close()
    disk.replace_file(staged / erasure_list.NAME, erasure_list.text(gallery, sorted(listed)))
    return len(gone)


def _manifest(stream: Reader) -> Manifest:
    manifest = Manifest.read(stream)
    if manifest.ledger.schema > HEAD:
        raise StartError(
            "ledger_too_new",
            f"The backup was made by a newer version of Robi, {manifest.robi}.",
            "Install that version or a later one.",
        )
    return manifest


def _copy(stream: Reader, part: BackupPart, write: Write) -> None:
    """Hand the bytes of a part on, and compare their digest."""
    digest, left = hashlib.sha256(), part.bytes
    while left:
        block = stream.read(min(left, FRAME))
        digest.update(block)
        write(block)
        left -= len(block)
    if digest.hexdigest() != part.sha256:
        raise damaged()


def _whole(look: Callable[[], LedgerContents]) -> LedgerContents:
    """What `look` finds in a ledger whose bytes are those that were backed up."""
    try:
        return look()
    except Unavailable as problem:
        if problem.code == "disk_full":
            raise
        raise damaged() from problem
    except OSError as problem:
        raise _no_room(problem) from None


@contextmanager
def _read(backup: Path) -> Iterator[BinaryIO]:
    try:
        file = backup.open("rb")
    except OSError as problem:
        raise BadInput(
            "bad_parameter", f"The backup cannot be read: {problem.strerror}.", "Name another file."
        ) from None
    with file:
        yield file


@contextmanager
def _held(data_dir: Path) -> Iterator[None]:
    """The directory's lock. A directory that was not there is gone again when it could not be filled."""
    made = not data_dir.exists()
    try:
        with closing(directory.hold(data_dir)):
            yield
    except BaseException:
        if made:
            (data_dir / directory.LOCK).unlink(missing_ok=True)
            with suppress(OSError):
                data_dir.rmdir()
        raise


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        yield folder
    except OSError as problem:
        raise _no_room(problem) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _no_room(problem: OSError) -> Unavailable | StartError:
    if problem.errno in FULL:
        return Unavailable(
            "disk_full",
            "The disk is full: nothing was restored.",
            "Free some space, or name a directory on another disk.",
        )
    return StartError(
        "data_dir_unusable",
        f"The data directory cannot be used: {problem.strerror}.",
        "Name one that you may write to with --data-dir or ROBI_DATA_DIR.",
    )
