"""One face through the three strategies, stage by stage, like a browser's network panel."""

from __future__ import annotations

from collections.abc import Sequence

from core.benchmark.model import StageSpan, Traced, TracedSearch
from core.domain.errors import RobiError
from core.domain.faces import Embedding
from core.domain.search import Strategy
from core.services.service import RobiService
from core.store.search.plan import COLD, HOT, StageMark

STAGES = {HOT: "hot", COLD: "cold"}


def trace(
    service: RobiService,
    embedding: Embedding,
    *,
    detect_ms: float = 0.0,
    embed_ms: float = 0.0,
    k: int = 5,
    threshold: float | None = None,
) -> Traced:
    """Search by each strategy, one after the other; none is counted among the live searches.

    `detect_ms` and `embed_ms` are those of the photo's analysis: every timeline begins with them.

    Raises:
        BadInput: `invalid_embedding`, `bad_parameter`.
    """
    service.store.rule(threshold)
    before = [
        StageSpan(*stage)
        for stage in (("detect", 0.0, detect_ms), ("embed", detect_ms, embed_ms))
        if stage[2]
    ]
    for strategy in Strategy:  # the first search after a pause finds everything cold
        _search(service, embedding, strategy, k, threshold, before)
    return Traced({s: _search(service, embedding, s, k, threshold, before) for s in Strategy})


def _search(
    service: RobiService,
    embedding: Embedding,
    strategy: Strategy,
    k: int,
    threshold: float | None,
    before: Sequence[StageSpan],
) -> TracedSearch:
    begun = before[-1].start_ms + before[-1].duration_ms if before else 0.0
    try:
        result, marks = service.store.trace(embedding, strategy=strategy, k=k, threshold=threshold)
    except RobiError as problem:
        if problem.status == 400:
            raise
        return TracedSearch(None, problem, tuple(before), begun)
    since = marks[0].began if marks else 0.0
    spans = sorted((_span(mark, since, begun) for mark in marks), key=lambda span: span.start_ms)
    return TracedSearch(result, None, (*before, *spans), begun + result.timings.total)


def _span(mark: StageMark, since: float, begun: float) -> StageSpan:
    stage = STAGES.get(mark.stage, mark.stage)
    return StageSpan(stage, begun + 1e3 * (mark.began - since), 1e3 * (mark.ended - mark.began))
