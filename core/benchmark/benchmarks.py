"""One comparison at a time in the background, and those that were kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.benchmark.model import (
    Comparison,
    Outcome,
    Progress,
    RecordedScores,
    Run,
    RunRequest,
    RunSummary,
)

if TYPE_CHECKING:
    from core.service import RobiService


class Benchmarks:
    """Owns the background thread; thread-safe."""

    def __init__(self, service: RobiService) -> None:
        self._service = service

    def start(self, request: RunRequest) -> None:
        """Begin a run in the background.

        Raises:
            Busy: `busy`, one is running.
            BadInput: `bad_parameter`, with what is wrong with the request.
            Unusable: `empty_gallery`.
        """
        raise NotImplementedError

    def progress(self) -> Progress | None:
        """How far the present run is; None when none is running."""
        raise NotImplementedError

    def cancel(self) -> None:
        """End the present run; nothing of it is kept. Does nothing when none is running."""
        raise NotImplementedError

    def outcome(self) -> Outcome | None:
        """How the last run ended; None before the first, and while one is running."""
        raise NotImplementedError

    def runs(self) -> tuple[RunSummary, ...]:
        """The kept runs, newest first."""
        raise NotImplementedError

    def get(self, run_id: int) -> Run:
        """
        Raises:
            NotFound: `unknown_run`.
            Unusable: `run_unreadable`, it was kept by a newer Robi.
        """
        raise NotImplementedError

    def rename(self, run_id: int, name: str) -> None:
        """Raises NotFound: `unknown_run`; BadInput: `bad_parameter` for an empty or long name."""
        raise NotImplementedError

    def delete(self, run_id: int) -> None:
        """Raises NotFound: `unknown_run`."""
        raise NotImplementedError

    def compare(self, a: int, b: int) -> Comparison:
        """Two kept runs, setting by setting. Raises what `get` raises."""
        raise NotImplementedError

    def recorded_scores(self, limit: int = 1000) -> RecordedScores:
        """What is known of the newest real probes without their embeddings."""
        raise NotImplementedError

    def kept_probes(self) -> int:
        """How many real probes are at hand for a run; 0 where ROBI_KEEP_PROBES is off."""
        raise NotImplementedError

    def close(self) -> None:
        """Cancel the present run and wait for its end; may be called twice."""


# In the modules beside this one:
# core.benchmark.export:  to_csv(run) -> str, to_json(run) -> str, to_html(run) -> str
# core.benchmark.tracing: trace(service, embedding, *, detect_ms=0, embed_ms=0, k=5, threshold=None)
# core.benchmark.applying: changes_of(setting) -> Mapping[str, Any] for service.tune, caveats_of(setting, run)
