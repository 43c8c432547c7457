"""Putting a measured setting into use."""

from __future__ import annotations

from collections.abc import Mapping

from core.benchmark.model import Run, Setting
from core.config.tuning import TuningValue
from core.domain.search import Strategy


def changes_of(setting: Setting) -> Mapping[str, TuningValue]:
    """What to pass to `RobiService.tune`; coverage is no part of it: see `caveats_of`."""
    changes: dict[str, TuningValue] = {"strategy": setting.strategy, "search_ef": setting.search_ef}
    if setting.strategy is not Strategy.QDRANT_ONLY:
        changes |= {"index_type": setting.index_type, "nprobe": setting.nprobe}
    return changes


def caveats_of(setting: Setting, run: Run) -> tuple[str, ...]:
    """Sentences on what of a measured setting tuning cannot bring about."""
    said: list[str] = []
    if setting.strategy is not Strategy.QDRANT_ONLY and setting.coverage < 1:
        size = max(1, round(setting.coverage * run.gallery_templates))
        said.append(
            f"It was measured with {setting.coverage:.0%} of the templates in the cache. How many the cache "
            f"holds is set by FAISS_CACHE_SIZE (here it would be {size:,}) at the next start, not by this."
        )
    if run.request.threshold is not None:
        said.append("The threshold stays as it is: choose it on the Calibration page.")
    return tuple(said)
