"""The file of a backup: a head, and frames of at most a megabyte, each sealed, the last one marked as such.

    ROBI-BK\\n · version, 2 bytes · length, 4 bytes · JSON: {"lock": null | {…}} · 16 bytes of their SHA-256
    length and mark, 4 bytes · sealed frame · length and mark · sealed frame · …

Numbers are big-endian. What is in the frames is one stream: a manifest and the parts that it names.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from typing import BinaryIO

from core.backup.sealing import SALT, TAG, Checksum, Cipher, Seal, Secret, damaged, key_of, new_lock
from core.domain.errors import BackupError

VERSION = 1
FRAME = 1 << 20  # bytes; what is in memory at a time
_MAGIC = b"ROBI-BK\n"
_AFTER_MAGIC = struct.Struct(">HI")
_LENGTH = struct.Struct(">I")
_LAST = 1 << 31
_CHECK = 16
_MOST_HEAD = 4096


class Writer:
    """Writes a stream into a file as frames; `finish` at the end."""

    def __init__(self, file: BinaryIO, secret: Secret | None) -> None:
        lock, key = (None, b"") if secret is None else new_lock(secret, os.urandom(SALT))
        said = json.dumps({"lock": lock}).encode()
        head = _MAGIC + _AFTER_MAGIC.pack(VERSION, len(said)) + said
        file.write(head + hashlib.sha256(head).digest()[:_CHECK])
        self._file = file
        self._seal: Seal = Cipher(head, key) if key else Checksum(head)
        self._waiting = bytearray()
        self._index = 0

    def write(self, data: bytes) -> None:
        self._waiting += data
        while len(self._waiting) > FRAME:
            self._frame(bytes(self._waiting[:FRAME]), last=False)
            del self._waiting[:FRAME]

    def finish(self) -> None:
        self._frame(bytes(self._waiting), last=True)

    def _frame(self, frame: bytes, *, last: bool) -> None:
        sealed = self._seal.close(self._index, frame, last=last)
        self._file.write(_LENGTH.pack(len(sealed) | (_LAST if last else 0)))
        self._file.write(sealed)
        self._index += 1


class Reader:
    """Reads the stream of a backup again.

    Every method raises BackupError: `not_a_backup`, `backup_format`, `backup_key_needed`, `backup_wrong_key`,
    `backup_truncated`, `backup_damaged`.
    """

    def __init__(self, file: BinaryIO, secret: Secret | None) -> None:
        self._file = file
        head, lock = self._head()
        self.encrypted = lock is not None
        self._seal: Seal = Checksum(head) if lock is None else Cipher(head, key_of(lock, secret))
        self._ready = b""
        self._index = 0
        self._last = False

    def read(self, size: int) -> bytes:
        """Exactly so many bytes, or as many as there are in this frame, at least one."""
        while not self._ready:
            if self._last:
                raise damaged()  # the manifest promises more
            self._next_frame()
        data, self._ready = self._ready[:size], self._ready[size:]
        return data

    def read_all(self, size: int) -> bytes:
        """Exactly so many bytes, in memory."""
        data = b""
        while len(data) < size:
            data += self.read(size - len(data))
        return data

    def finish(self) -> None:
        """That nothing comes any more."""
        while not self._last and not self._ready:
            self._next_frame()
        if self._ready or self._file.read(1):
            raise damaged()

    def _head(self) -> tuple[bytes, Mapping[str, str] | None]:
        magic = self._file.read(len(_MAGIC))
        if not _MAGIC.startswith(magic):
            raise BackupError("not_a_backup", "The file is no backup of Robi's.", "Name another file.")
        fixed = self._exactly(_AFTER_MAGIC.size)
        version, length = _AFTER_MAGIC.unpack(fixed)
        if version != VERSION:
            raise BackupError(
                "backup_format",
                f"The backup is of format {version}; this Robi reads format {VERSION}.",
                "Use the version of Robi that made it.",
            )
        if length > _MOST_HEAD:
            raise damaged()
        said = self._exactly(length)
        head = magic + fixed + said
        if self._exactly(_CHECK) != hashlib.sha256(head).digest()[:_CHECK]:
            raise damaged()
        lock: Mapping[str, str] | None = json.loads(said)["lock"]
        return head, lock

    def _next_frame(self) -> None:
        (word,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        self._last, length = bool(word & _LAST), word & ~_LAST
        if not TAG <= length <= FRAME + TAG:
            raise damaged()
        self._ready = self._seal.open(self._index, self._exactly(length), last=self._last)
        self._index += 1

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise BackupError(
                "backup_truncated", "The backup is cut off: its end is missing.", "Take another one."
            )
        return data
