"""One comparison at a time in the background, and those that were kept."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

from core.benchmark import comparing, keeping, probes
from core.benchmark.checking import check, checked_name
from core.benchmark.model import (
    Comparison,
    Outcome,
    Progress,
    RecordedScores,
    Run,
    RunRequest,
    RunSummary,
)
from core.benchmark.pacing import Cancelled, Pace
from core.benchmark.runner import Runner
from core.errors import Busy, RobiError, Unavailable, Unusable
from core.service import RobiService

logger = logging.getLogger("robi.benchmark")

CLOSE_SECONDS = 30.0  # for a run to notice: building an index cannot be interrupted
ETA_FROM = 0.05  # of the way; before, nothing can be told


class Benchmarks:
    """Owns the background thread; thread-safe."""

    def __init__(self, service: RobiService) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None
        self._started = 0.0
        self._at = (0.0, "Starting.")
        self._outcome: Outcome | None = None
        self._closed = False
        service.metrics.watch("comparisons_running", lambda: float(self.progress() is not None))

    def start(self, request: RunRequest) -> None:
        """Begin a run in the background.

        Raises:
            Busy: `busy`, one is running.
            BadInput: `bad_parameter`, with what is wrong with the request.
            Unusable: `empty_gallery`.
            Unavailable: Robi is closing.
        """
        check(request)
        if not self._service.counts().templates:
            raise Unusable(
                "empty_gallery", "Nobody is enrolled yet.", "Enroll somebody or load the demo gallery."
            )
        with self._lock:
            if self._closed:
                raise Unavailable("search_unavailable", "Robi is shutting down.")
            if self._thread is not None and self._thread.is_alive():
                raise Busy("busy", "A comparison is running already.", "Wait for it, or cancel it.")
            self._cancelled.clear()
            self._outcome = None
            self._at, self._started = (0.0, "Starting."), time.monotonic()
            self._thread = threading.Thread(target=self._work, args=(request,), name="benchmark", daemon=True)
            self._thread.start()

    def progress(self) -> Progress | None:
        """How far the present run is; None when none is running."""
        thread = self._thread
        if thread is None or not thread.is_alive() or self._outcome is not None:
            return None
        share, doing = self._at
        if self._cancelled.is_set():
            return Progress(share, "Ending. A cache that is being built is finished first.", None)
        spent = time.monotonic() - self._started
        return Progress(share, doing, spent * (1 - share) / share if share >= ETA_FROM else None)

    def cancel(self) -> None:
        """End the present run; nothing of it is kept. Does nothing when none is running."""
        self._cancelled.set()

    def outcome(self) -> Outcome | None:
        """How the last run ended; None before the first, and while one is running."""
        return self._outcome

    def runs(self) -> tuple[RunSummary, ...]:
        """The kept runs, newest first."""
        return tuple(map(keeping.summary_of, self._service.ledger.runs()))

    def get(self, run_id: int) -> Run:
        """
        Raises:
            NotFound: `unknown_run`.
            Unusable: `run_unreadable`, it was kept by a newer Robi.
        """
        return keeping.run_of(self._service.ledger.run(run_id))

    def rename(self, run_id: int, name: str) -> None:
        """Raises NotFound: `unknown_run`; BadInput: `bad_parameter` for an empty or long name."""
        self._service.ledger.rename_run(run_id, checked_name(name))

    def delete(self, run_id: int) -> None:
        """Raises NotFound: `unknown_run`."""
        self._service.ledger.remove_run(run_id)

    def compare(self, a: int, b: int) -> Comparison:
        """Two kept runs, setting by setting. Raises what `get` raises."""
        return comparing.compare(self.get(a), self.get(b))

    def recorded_scores(self, limit: int = 1000) -> RecordedScores:
        """What is known of the newest real probes without their embeddings."""
        return probes.recorded_scores(self._service, limit)

    def kept_probes(self) -> int:
        """How many real probes are at hand for a run; 0 where ROBI_KEEP_PROBES is off."""
        return len(self._service.store.recent)

    def close(self) -> None:
        """Cancel the present run and wait for its end; may be called twice."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._cancelled.set()
        if thread is not None:
            thread.join(CLOSE_SECONDS)

    def _work(self, request: RunRequest) -> None:
        """The background thread: whatever happens, there is an outcome."""
        try:
            self._outcome = Outcome(run=self._run(request))
        except Cancelled:
            self._outcome = Outcome(cancelled=True)
        except RobiError as problem:
            self._outcome = Outcome(error=problem)
        except Exception:  # a page is waiting for the outcome
            logger.exception("a comparison failed")
            self._outcome = Outcome(
                error=Unavailable("search_unavailable", "The comparison failed.", "Run it again.")
            )

    def _run(self, request: RunRequest) -> Run:
        store = self._service.store
        pace = Pace(lambda: store.loads()["search"].rows, self._cancelled.wait, request.time_limit_s)
        run = Runner(self._service, request, pace, self._tell).run()
        if self._cancelled.is_set():
            raise Cancelled
        self._tell(1.0, "Keeping the result.")
        summary, document = keeping.summarised(run), keeping.document_of(run)
        return replace(run, id=self._service.ledger.add_run(run.at, run.name, summary, document))

    def _tell(self, share: float, doing: str) -> None:
        self._at = (share, doing)
