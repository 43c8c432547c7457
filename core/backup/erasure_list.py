"""The list of erasures: who must not come back when an older copy of the gallery is restored.

It lies outside of what is backed up, and names nobody: a line is the number of the event that tells of the
erasure, and a keyed digest of the person's user_id and the moment of their enrollment. The key is the
gallery's id, which is not in the list, so that nobody can try user_ids who has only the list. The ledger
stays the truth: the list is made of what it tells, and whatever a crash or a full disk kept out of it is
added at the next start or erasure.

    robi-erasures 1 <digest of the gallery's id>
    <event> <person>
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.domain.errors import BackupError, RobiError
from core.ledger.erased import EnrolledId, ErasedPeople
from core.runtime import disk

logger = logging.getLogger("robi.backup")

NAME = "erasures.list"  # in the data directory, and beside scheduled backups
_HEAD = "robi-erasures 1 "
_LINE = re.compile(r"([0-9]{1,18}) ([0-9a-f]{32})")
_DIGEST = 16  # bytes


@dataclass(frozen=True, slots=True)
class Erased:
    """What is in a list."""

    persons: frozenset[str]
    newest: int  # event that is told of
    whole: int  # bytes up to the end of the last whole line


def person_key(gallery_id: str, person: EnrolledId) -> str:
    """Says nothing about the person to whoever does not know the gallery's id."""
    said = f"{person.user_id}\n{person.at.isoformat()}".encode()
    return hashlib.blake2b(said, digest_size=_DIGEST, key=gallery_id.encode()).hexdigest()


def read(path: Path, gallery_id: str) -> Erased:
    """
    Raises:
        BackupError: `erasures_unusable`: it cannot be read, is damaged or of another gallery.
    """
    try:
        return parsed(path.read_bytes(), gallery_id)
    except OSError as problem:
        raise _unusable(f"cannot be read: {problem.strerror}") from None


def is_anothers(path: Path, gallery_id: str) -> bool:
    """Whether a list that lies there belongs to another gallery. Raises BackupError, as `read`."""
    try:
        with path.open("rb") as file:
            head = file.readline(len(_head(gallery_id)) + 1).decode("ascii", "replace").rstrip("\n")
    except OSError as problem:
        raise _unusable(f"cannot be read: {problem.strerror}") from None
    return head.startswith(_HEAD) and len(head) == len(_head(gallery_id)) and head != _head(gallery_id)


def parsed(data: bytes, gallery_id: str) -> Erased:
    """As `read`. A last line that a crash cut off does not count: its erasure was not acknowledged."""
    whole = data.rfind(b"\n") + 1
    head, *lines = data[:whole].decode("ascii", "replace").splitlines() or [""]
    if not head.startswith(_HEAD):
        raise _unusable("is damaged, or none")
    if head != _head(gallery_id):
        raise _unusable("is another gallery's")
    found = [_LINE.fullmatch(line) for line in lines]
    matches = [match for match in found if match is not None]
    if len(matches) < len(found):
        raise _unusable("is damaged")
    newest = max((int(match[1]) for match in matches), default=0)
    return Erased(frozenset(match[2] for match in matches), newest, whole)


def text(gallery_id: str, persons: Iterable[str]) -> bytes:
    """A list of people whose events are another ledger's."""
    return "".join(f"{line}\n" for line in (_head(gallery_id), *(f"0 {key}" for key in persons))).encode()


class ErasureList:
    """A list that follows the ledger. Thread-safe; raises BackupError, OSError and Unavailable."""

    def __init__(self, path: Path, gallery_id: str, erased: ErasedPeople) -> None:
        self._path = path
        self._gallery_id = gallery_id
        self._erased = erased
        self._lock = threading.Lock()
        self._newest: int | None = None  # event that is in the list; None: the list has to be read first

    def follow(self) -> None:
        """Have everybody in the list, durably, who is erased by now."""
        with self._lock:
            try:
                if self._newest is None or not self._path.exists():
                    self._begin()
                elif later := self._erased.after(self._newest):
                    self._append(later)
            except BaseException:
                self._newest = None  # nobody knows how much was written
                raise

    def _begin(self) -> None:
        if not self._path.exists():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            disk.replace_file(self._path, text(self._gallery_id, ()))
        there = read(self._path, self._gallery_id)
        with self._path.open("r+b") as file:
            file.truncate(there.whole)
        # An older ledger was put in place: the numbers of its events are given again.
        since = there.newest if there.newest <= self._erased.newest() else 0
        self._newest = since
        self._append(self._erased.after(since), there.persons)

    def _append(self, later: Sequence[tuple[int, EnrolledId]], listed: frozenset[str] = frozenset()) -> None:
        keys = [(event, person_key(self._gallery_id, person)) for event, person in later]
        new = "".join(f"{event} {key}\n" for event, key in keys if key not in listed)
        if new:
            with self._path.open("ab") as file:
                file.write(new.encode())
                file.flush()
                os.fsync(file.fileno())
        if keys:
            self._newest = keys[-1][0]


class ErasureLists:
    """The lists of a running Robi, which are written at each erasure, and never stand in its way."""

    def __init__(self, paths: Sequence[Path], gallery_id: str, erased: ErasedPeople) -> None:
        self._lists = [ErasureList(path, gallery_id, erased) for path in paths]
        self.problem: str | None = None
        """Why one of them is behind, in an operator's words; the next erasure or start tries again."""

    def follow(self) -> None:
        """Call when somebody was erased, before that is acknowledged, and at the start."""
        problem = None
        for one in self._lists:
            try:
                one.follow()
            except (OSError, RobiError) as raised:
                why = f"The list of erasures cannot be written: {getattr(raised, 'strerror', None)}."
                problem = raised.message if isinstance(raised, RobiError) else why
                logger.warning("%s", problem)
        self.problem = problem


def _head(gallery_id: str) -> str:
    return _HEAD + hashlib.blake2b(gallery_id.encode(), digest_size=_DIGEST, person=b"gallery").hexdigest()


def _unusable(why: str) -> BackupError:
    return BackupError(
        "erasures_unusable",
        f"The list of erasures {why}.",
        "Give the list that lay in this gallery's data directory, or beside its backups.",
    )
