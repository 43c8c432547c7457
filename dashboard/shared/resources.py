"""The process's singletons: each is opened once, shared by dashboard and API, and closed once."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from core.config.settings import Settings
from core.domain.errors import StartError, Unavailable
from core.runtime import disk

if TYPE_CHECKING:
    from core.benchmark.benchmarks import Benchmarks
    from core.calibration.job import CalibrationJob
    from core.faces.engine import FaceEngine
    from core.live import LiveSessions
    from core.services.service import RobiService
    from dashboard.shared.drafts import Drafts


@dataclass(frozen=True, slots=True)
class Resources:
    settings: Settings
    service: RobiService
    live: LiveSessions
    calibration: CalibrationJob = field(init=False)
    benchmarks: Benchmarks = field(init=False)
    drafts: Drafts = field(init=False)

    def __post_init__(self) -> None:
        from core.benchmark.benchmarks import Benchmarks
        from core.calibration.job import CalibrationJob
        from dashboard.shared.drafts import Drafts

        object.__setattr__(self, "calibration", CalibrationJob(self.service))  # frozen for all others
        object.__setattr__(self, "benchmarks", Benchmarks(self.service))
        object.__setattr__(self, "drafts", Drafts())


log = logging.getLogger(__name__)

_guard = threading.Lock()
_open: Resources | None = None
_held: IO[str] | None = None


def open_resources(settings: Settings) -> Resources:
    """Open everything under the data directory and hold its lock until `close_resources`.

    Raises:
        StartError: `data_dir_locked`, naming the process that holds it; `data_dir_unusable`; or what
            the face models, the ledger and the store raise when they cannot start.
    """
    global _open, _held
    with _guard:
        if _open is not None:
            raise RuntimeError("resources are already open")
        held = _lock(settings.robi_data_dir)
        try:
            service = _open_service(settings)
        except BaseException:
            held.close()
            raise
        from core.live import LiveSessions

        _held, _open = held, Resources(settings, service, LiveSessions(service))
        return _open


def get() -> Resources:
    """The open resources."""
    if _open is None:
        raise RuntimeError("resources are not open")
    return _open


def close_resources() -> None:
    """Close everything in reverse order; does nothing when nothing is open."""
    global _open, _held
    with _guard:
        if _open is not None:
            own, _open = _open, None
            service = own.service
            for part in (
                own.drafts,
                own.benchmarks,
                own.calibration,
                service,
                service.store,
                service.ledger,
                service.engine,
            ):
                try:
                    part.close()
                except Exception:  # the others must be closed all the same
                    log.exception("closing %s failed", type(part).__name__)
        if _held is not None:
            _held.close()
            _held = None


def _open_service(settings: Settings) -> RobiService:
    """Models load on one thread while the store's libraries are imported on another."""
    with ThreadPoolExecutor(1, "open-faces") as other:
        faces = other.submit(_open_engine, settings)
        from core.ledger.ledger import Ledger
        from core.store.hybrid import HybridVectorStore

        engine = faces.result()
    from core.services.service import RobiService

    with ExitStack() as failed:  # closes what is open, last to first, unless all of it could be opened
        failed.callback(engine.close)
        ledger = Ledger.open(settings.robi_data_dir / "ledger.db", engine.pack)
        failed.callback(ledger.close)
        try:
            store = HybridVectorStore.open(settings, ledger, engine.pack, settings.robi_data_dir)
            failed.callback(store.close)
            service = RobiService.open(settings, engine, ledger, store)
        except Unavailable as problem:  # the ledger could be opened, but not be read
            raise StartError(problem.code, problem.message, problem.hint) from problem
        failed.pop_all()
    return service


def _open_engine(settings: Settings) -> FaceEngine:
    from core.faces.engine import FaceEngine

    return FaceEngine.open(settings)


def _lock(data_dir: Path) -> IO[str]:
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
        found = os.open(data_dir / "robi.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        handle = os.fdopen(found, "r+", encoding="utf-8")
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
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.seek(0)
        holder = handle.read().strip() or "unknown"
        handle.close()
        raise StartError(
            "data_dir_locked",
            f"Another Robi, process {holder}, is using this data directory.",
            "Stop it, or set ROBI_DATA_DIR to another directory.",
        ) from None
    with suppress(OSError):  # on a full disk the lock holds all the same, only its holder stays unnamed
        os.ftruncate(handle.fileno(), 0)
        os.write(handle.fileno(), f"{os.getpid()}\n".encode())
    return handle
