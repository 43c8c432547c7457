"""One calibration at a time, in the background; what came out is kept for as long as the process lives."""

from __future__ import annotations

from collections.abc import Sequence

from core.calibration.model import Evaluation, Progress, Study, Upload
from core.errors import RobiError
from core.service import RobiService


class CalibrationJob:
    """Safe to call from any thread; nothing but `close` waits. Reached as `resources.get().calibration`."""

    def __init__(self, service: RobiService) -> None: ...

    def start(self, *, impostors: int = 1_000_000, seed: int = 0) -> None:
        """Study the gallery. Raises Busy: busy, while another one runs."""
        raise NotImplementedError

    def start_evaluation(self, files: Sequence[Upload], *, seed: int = 0) -> None:
        """Study an uploaded set instead. Raises Busy: busy, while another one runs."""
        raise NotImplementedError

    def progress(self) -> Progress | None:
        """None while nothing runs."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Stop what runs, within about a second; what was there before stays."""
        raise NotImplementedError

    def study(self) -> Study | None:
        """The last study of the gallery."""
        raise NotImplementedError

    def stale(self) -> bool:
        """Whether the gallery has changed since the last study."""
        raise NotImplementedError

    def evaluation(self) -> Evaluation | None:
        raise NotImplementedError

    def forget_evaluation(self) -> None:
        """Let go of the uploaded set's figures and pictures."""
        raise NotImplementedError

    def failure(self) -> RobiError | None:
        """Why the last start came to nothing (also `cancelled`); None when it did not."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
