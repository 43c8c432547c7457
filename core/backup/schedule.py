"""Backups by the clock, of which the newest are kept."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.backup.erasure_list import ErasureLists
from core.backup.making import PART, back_up, check_is_a_file
from core.backup.sealing import Secret
from core.config.settings import Settings
from core.domain.errors import BackupError, RobiError

logger = logging.getLogger("robi.backup")

_NAME = "robi-%Y%m%dT%H%M%SZ.backup"
_OURS = re.compile(r"robi-\d{8}T\d{6}Z\.backup(\.part)?")
AGAIN = timedelta(minutes=10)  # after a failure, or sooner where backups are due sooner
CLOSING_S = 10.0


@dataclass(frozen=True, slots=True)
class BackupState:
    """How scheduled backups, and the lists of erasures that go with them, stand."""

    newest: datetime | None  # when the last one was begun that is whole; None when there is none
    problem: str | None  # why the last attempt came to nothing, or a list is behind, in an operator's words


class BackupSchedule:
    """Owns the thread. A backup is made when the newest one in the directory is old enough, also across
    restarts; without a directory nothing is ever done."""

    def __init__(
        self,
        settings: Settings,
        lists: ErasureLists,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._data_dir = settings.robi_data_dir
        self._directory = Path(settings.robi_backup_dir) if settings.robi_backup_dir else None
        self._every = timedelta(hours=settings.robi_backup_hours)
        self._keep = settings.robi_backup_keep
        self._key_file = settings.robi_backup_key_file
        self._lists = lists
        self._clock = clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem: str | None = None

    def start(self) -> None:
        """Look at the clock from now on, in the background."""
        try:
            check_is_a_file(self._settings)
        except BackupError as problem:
            self._problem = f"{problem.message} {problem.hint}"
            return
        if self._directory is not None:
            self._thread = threading.Thread(target=self._run, name="robi-backup", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Give up what is being written; nothing of it is kept. May be called twice, and without a start."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(CLOSING_S)

    def state(self) -> BackupState | None:
        """None when no backups are scheduled and nothing is wrong."""
        if self._directory is None:
            return BackupState(None, self._lists.problem) if self._lists.problem else None
        return BackupState(self._newest(self._directory), self._problem or self._lists.problem)

    def tick(self) -> timedelta:
        """Make a backup if one is due; how long there is nothing to do."""
        if self._directory is None:
            return self._every
        if self._lists.problem:
            self._lists.follow()
        newest, now = self._newest(self._directory), self._clock()
        if newest is not None and newest <= now < newest + self._every:
            return newest + self._every - now
        try:
            self._back_up(self._directory, now)
        except RobiError as problem:
            return self._failed(problem.message)
        except OSError as problem:
            return self._failed(f"The directory of backups cannot be used: {problem.strerror}.")
        self._problem = None
        return self._every

    def _run(self) -> None:
        rest = timedelta()
        while not self._stop.wait(rest.total_seconds()):
            try:
                rest = self.tick()
            except Exception:
                logger.exception("a scheduled backup failed")
                rest = self._failed("Something unforeseen went wrong; the server's log says more.")

    def _back_up(self, directory: Path, now: datetime) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = Secret.of_file(Path(self._key_file)) if self._key_file else None
        made = directory / now.strftime(_NAME)
        back_up(self._data_dir, made, secret, cancelled=self._stop.is_set)
        there = self._ours(directory)
        others = sorted(path for path in there if path.suffix != PART and path != made)
        left_by_kills = [path for path in there if path.suffix == PART]
        for path in (*others[: max(0, len(others) - self._keep + 1)], *left_by_kills):
            path.unlink(missing_ok=True)

    def _failed(self, why: str) -> timedelta:
        if not self._stop.is_set():
            self._problem = why
            logger.warning("no scheduled backup: %s", why)
        return min(self._every, AGAIN)

    def _newest(self, directory: Path) -> datetime | None:
        """By its name: a file that is copied about keeps that."""
        try:
            names = [path.name for path in self._ours(directory) if path.suffix != PART]
        except OSError:
            return None
        return max((datetime.strptime(n, _NAME).replace(tzinfo=UTC) for n in names), default=None)

    @staticmethod
    def _ours(directory: Path) -> list[Path]:
        return [path for path in directory.iterdir() if _OURS.fullmatch(path.name)]
