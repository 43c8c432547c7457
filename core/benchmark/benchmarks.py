"""One comparison at a time in the background, and those that were kept."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

from core.benchmark import difference, documents, probes
from core.benchmark.model import Comparison, Outcome, RecordedScores, Run, RunRequest, RunSummary
from core.benchmark.request import check, checked_name
from core.benchmark.runner import Runner
from core.benchmark.throttle import Pace
from core.domain.errors import RobiError, Unusable
from core.metrics.gauges import COMPARISONS
from core.runtime.background import Background, Cancelled, Progress
from core.services.service import RobiService


class Benchmarks:
    """Safe to call from any thread; nothing but `close` waits."""

    def __init__(self, service: RobiService) -> None:
        self._service = service
        self._background = Background("comparison")
        self._last: Future[Run] | None = None
        service.metrics.watch(COMPARISONS, lambda: float(self.progress() is not None))

    def start(self, request: RunRequest) -> None:
        """Begin a run in the background.

        Raises:
            Busy: `busy`, one is running.
            BadInput: `bad_parameter`, with what is wrong with the request.
            Unusable: `empty_gallery`.
            Unavailable: Robi is closing.
        """
        check(request)
        if not self._service.people.counts().templates:
            raise Unusable(
                "empty_gallery", "Nobody is enrolled yet.", "Enroll somebody or load the demo gallery."
            )
        self._last = self._background.start(lambda: self._run(request))

    def progress(self) -> Progress | None:
        """How far the present run is; None when none is running."""
        return self._background.progress()

    def cancel(self) -> None:
        """End the present run; nothing of it is kept. Does nothing when none is running."""
        self._background.cancel()

    def outcome(self) -> Outcome | None:
        """How the last run ended; None before the first, and while one is running."""
        if self._last is None or not self._last.done():
            return None
        problem = self._last.exception()
        if isinstance(problem, Cancelled):
            return Outcome(cancelled=True)
        return Outcome(error=problem) if isinstance(problem, RobiError) else Outcome(run=self._last.result())

    def runs(self) -> tuple[RunSummary, ...]:
        """The kept runs, newest first."""
        return tuple(map(documents.summary_of, self._service.ledger.runs.all()))

    def get(self, run_id: int) -> Run:
        """
        Raises:
            NotFound: `unknown_run`.
            Unusable: `run_unreadable`, it was kept by a newer Robi.
        """
        return documents.run_of(self._service.ledger.runs.one(run_id))

    def rename(self, run_id: int, name: str) -> None:
        """Raises NotFound: `unknown_run`; BadInput: `bad_parameter` for an empty or long name."""
        self._service.ledger.runs.rename(run_id, checked_name(name))

    def delete(self, run_id: int) -> None:
        """Raises NotFound: `unknown_run`."""
        self._service.ledger.runs.remove(run_id)

    def compare(self, a: int, b: int) -> Comparison:
        """Two kept runs, setting by setting. Raises what `get` raises."""
        return difference.compare(self.get(a), self.get(b))

    def recorded_scores(self, limit: int = 1000) -> RecordedScores:
        """What is known of the newest real probes without their embeddings."""
        return probes.recorded_scores(self._service, limit)

    def kept_probes(self) -> int:
        """How many real probes are at hand for a run; 0 where ROBI_KEEP_PROBES is off."""
        return len(self._service.store.recent)

    def close(self) -> None:
        """Cancel the present run and wait for its end; may be called twice."""
        self._background.close()

    def _run(self, request: RunRequest) -> Run:
        store, background = self._service.store, self._background
        pace = Pace(lambda: store.loads()["search"].rows, background.wait, request.time_limit_s)
        run = Runner(self._service, request, pace, background.tell).run()
        if background.cancelled:
            raise Cancelled()
        background.tell(1.0, "Keeping the result.")
        summary, document = documents.summarised(run), documents.document_of(run)
        return replace(run, id=self._service.ledger.runs.add(run.at, run.name, summary, document))
