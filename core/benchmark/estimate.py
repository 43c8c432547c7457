"""How long a comparison is going to take."""

from __future__ import annotations

from collections.abc import Sequence

from core.benchmark.model import RunRequest, RunSummary

SETTLE_S = 0.5  # to set up one setting; a guess until there is a run to learn from
SEARCH_S = 0.003


def expected_seconds(request: RunRequest, templates: int, runs: Sequence[RunSummary]) -> float:
    """As the newest complete one of `runs` took, newest first, on a gallery of a like size, or else a guess;
    at most the time limit."""
    searches = len(request.settings) * len(request.concurrencies) * request.count
    like = (run for run in runs if run.complete and alike(run.gallery_templates, templates))
    if last := next(like, None):
        known = last.settings * len(last.concurrencies) * last.count
        expected = last.duration_s * searches / max(known, 1)
    else:
        expected = len(request.settings) * SETTLE_S + searches * SEARCH_S
    return min(expected, request.time_limit_s)


def alike(one: int, other: int) -> bool:
    """Whether two galleries are of about one size: at most one is twice the other."""
    return max(one, other) <= 2 * min(one, other)
