"""Takes uploads apart into labelled images, without trusting them. Nothing is ever written to a disk.

A zip may lie about everything, so every limit is counted on the bytes that come out of it.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from core.calibration.uploaded import Skipped, Upload
from core.domain.errors import TooLarge, Unusable

MOST_FILES = 20_000
MOST_BYTES = 4_000_000_000  # unpacked, all files together
MOST_DIRECTORY = 512 * MOST_FILES  # bytes of an archive's own listing, which is read as a whole
MOST_RATIO = 200  # unpacked to packed: photos are compressed already, so they hardly shrink
RATIO_FROM = 1_000_000  # bytes; a small file may be simple
_CHUNK = 1 << 20

REASONS = {
    "junk": "not a picture",
    "no_person": "not in a person's folder",
    "nested_archive": "an archive inside the archive",
    "unsafe_path": "its path is not that of a file in a folder",
    "link": "a link to another file",
    "encrypted": "protected by a password",
    "damaged": "damaged inside the archive",
    "twice": "the same path a second time",
    "image_too_large": "larger than an image may be",
}
"""Why a file of an evaluation set is left out, for people."""

_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"}
_FOREIGN = re.compile(r"\\|\0|^[A-Za-z]:")  # Windows' separators and drives
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class Labelled:
    """One image of a person; the label is the folder that it lies in."""

    path: str
    label: str
    data: bytes


def count_files(uploads: Sequence[Upload]) -> int:
    """How many files there are, in archives and beside them.

    Raises:
        Unusable: `bad_archive`. TooLarge: `archive_too_large`.
    """
    total = 0
    for upload in uploads:
        if _is_zip(upload):
            with _opened(upload.data) as archive:
                total += sum(not entry.is_dir() for entry in archive.infolist())
        else:
            total += 1
    if total > MOST_FILES:
        raise _too_many()
    return total


def labelled_images(uploads: Sequence[Upload], most_bytes: int) -> Iterator[Labelled | Skipped]:
    """Every file in turn, one in memory at a time. `most_bytes` is what one image may have.

    Raises:
        Unusable: `bad_archive`, when a zip cannot be read.
        TooLarge: `archive_too_large`, when more comes out than `MOST_BYTES`, or out of so little that it
            is no set of photos.
    """
    budget = _Budget(MOST_BYTES)
    seen: set[str] = set()
    for upload in uploads:
        if _is_zip(upload):
            yield from _unpacked(upload.data, most_bytes, budget, seen)
        else:
            budget.take(len(upload.data))
            yield _sorted_out(upload.path, seen) or Labelled(upload.path, _label(upload.path), upload.data)


class _Budget:
    """The bytes that may still come out."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise TooLarge(
                "archive_too_large",
                f"Unpacked, the files are larger than {MOST_BYTES / 1e9:g} GB.",
                "Use a smaller evaluation set.",
            )


def _unpacked(data: bytes, most_bytes: int, budget: _Budget, seen: set[str]) -> Iterator[Labelled | Skipped]:
    with _opened(data) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            reason = _refused(entry)
            skipped = Skipped(entry.filename, reason) if reason else _sorted_out(entry.filename, seen)
            yield skipped or _extracted(archive, entry, most_bytes, budget)


def _extracted(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most_bytes: int, budget: _Budget
) -> Labelled | Skipped:
    parts: list[bytes] = []
    size = 0
    try:
        with archive.open(entry) as source:
            while part := source.read(_CHUNK):
                size += len(part)
                budget.take(len(part))
                if size > RATIO_FROM and size > MOST_RATIO * max(1, entry.compress_size):
                    raise _bomb()
                if size > most_bytes:
                    return Skipped(entry.filename, "image_too_large")
                parts.append(part)
    except _BROKEN:
        return Skipped(entry.filename, "damaged")
    return Labelled(entry.filename, _label(entry.filename), b"".join(parts))


def _bomb() -> TooLarge:
    return TooLarge(
        "archive_too_large",
        "A file in the archive unpacks to far more than a photo does.",
        "Zip the photos' folders anew.",
    )


def _refused(entry: zipfile.ZipInfo) -> str | None:
    """What is wrong with an entry of an archive, besides its name."""
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "link"
    return "encrypted" if entry.flag_bits & 0x1 else None


def _sorted_out(path: str, seen: set[str]) -> Skipped | None:
    """Files that are told by their name; remembers those that are not, so that each counts once."""
    reason = _reason(path)
    if reason is None and path in seen:
        reason = "twice"
    seen.add(path)
    return Skipped(path, reason) if reason else None


def _reason(path: str) -> str | None:
    if _leads_out(path):
        return "unsafe_path"
    pure = PurePosixPath(path)
    if any(part.startswith(".") or part == "__MACOSX" for part in pure.parts):
        return "junk"
    if pure.suffix.lower() in _ARCHIVES:
        return "nested_archive"
    if pure.suffix.lower() not in _PICTURES:
        return "junk"
    return None if len(pure.parts) > 1 else "no_person"


def _leads_out(path: str) -> bool:
    pure = PurePosixPath(path)
    return pure.is_absolute() or ".." in pure.parts or bool(_FOREIGN.search(path))


def _label(path: str) -> str:
    return PurePosixPath(path).parent.name


def _is_zip(upload: Upload) -> bool:
    return upload.path.lower().endswith(".zip") and "/" not in upload.path


def _opened(data: bytes) -> zipfile.ZipFile:
    try:
        if _directory_size(data) <= MOST_DIRECTORY:
            return zipfile.ZipFile(io.BytesIO(data))
    except _BROKEN:
        raise Unusable(
            "bad_archive", "The file is not a zip archive, or it is damaged.", "Zip the folders anew."
        ) from None
    raise _too_many()


def _directory_size(data: bytes) -> int:
    """How long the listing at the end claims to be; the 64-bit form counts where there is one.

    APPNOTE.TXT 6.3.10, sections 4.3.14 to 4.3.16.
    """
    end = data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557))
    if end < 0:
        raise zipfile.BadZipFile
    (size,) = struct.unpack_from("<12xL", data, end)
    if data[end - 20 : end - 16] == b"PK\x06\x07" and end >= 76:
        (size64,) = struct.unpack_from("<40xQ", data, end - 76)
        size = max(size, size64)
    return int(size)


def _too_many() -> TooLarge:
    return TooLarge(
        "archive_too_large", f"There are more than {MOST_FILES:,} files.", "Use a smaller evaluation set."
    )
