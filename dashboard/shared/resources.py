"""The process's singletons: each is opened once, shared by dashboard and API, and closed once."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.config.settings import Settings
from core.runtime import data_dir
from core.services import opening

if TYPE_CHECKING:
    from core.benchmark.benchmarks import Benchmarks
    from core.calibration.job import CalibrationJob
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

        object.__setattr__(self, "calibration", CalibrationJob(self.service))  # frozen: set here, never again
        object.__setattr__(self, "benchmarks", Benchmarks(self.service))
        object.__setattr__(self, "drafts", Drafts())


_guard = threading.Lock()
_open: Resources | None = None
_held: data_dir.DataDirLock | None = None


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
        held = data_dir.hold(settings.robi_data_dir)
        try:
            service = opening.open_service(settings)
        except BaseException:
            held.close()
            raise
        from core.live import LiveSessions

        _held, _open = held, Resources(settings, service, LiveSessions(service))
        service.backups.start()
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
            opening.close_each((own.drafts, own.benchmarks, own.calibration))
            opening.close_service(own.service)
        if _held is not None:
            _held.close()
            _held = None
