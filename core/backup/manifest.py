"""What a backup says of itself; it comes first in the stream."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from core.backup.container import Reader, Writer
from core.backup.sealing import damaged
from core.ledger.file_copy import LedgerContents

LEDGER, ERASURES = "ledger", "erasures"  # the parts that there may be
_LENGTH = struct.Struct(">I")
_MOST = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class BackupPart:
    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    robi: str  # the version that made it
    made_at: datetime
    engine: str  # of the ledger: what its part is a copy of
    ledger: LedgerContents
    parts: tuple[BackupPart, ...]

    def write(self, stream: Writer) -> None:
        said = {**asdict(self), "made_at": self.made_at.isoformat()}
        data = json.dumps(said).encode()
        stream.write(_LENGTH.pack(len(data)) + data)

    @classmethod
    def read(cls, stream: Reader) -> Manifest:
        """Raises BackupError, as `Reader` does."""
        (length,) = _LENGTH.unpack(stream.read_all(_LENGTH.size))
        if length > _MOST:
            raise damaged()
        try:
            return _read(json.loads(stream.read_all(length)))
        except (KeyError, TypeError, ValueError):
            raise damaged() from None


def _read(said: dict[str, Any]) -> Manifest:
    return Manifest(
        robi=said["robi"],
        made_at=datetime.fromisoformat(said["made_at"]),
        engine=said["engine"],
        ledger=LedgerContents(**said["ledger"]),
        parts=tuple(BackupPart(**part) for part in said["parts"]),
    )
