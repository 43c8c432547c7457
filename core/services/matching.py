"""Whose face or embedding it is: searched for among everybody (1:N), or compared with one person (1:1)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

import numpy as np

from core.domain import decisions
from core.domain.faces import Face
from core.domain.recognition import VerifyOptions
from core.domain.search import Candidate, SearchResult, SearchTimings, Source, Strategy
from core.domain.templates import StoredTemplate
from core.ledger.ledger import Ledger
from core.services.options import Options
from core.store.hybrid import HybridVectorStore
from core.store.search.rank import unbacked
from core.telemetry import tracing


class Matching:
    """Safe to call from many threads."""

    def __init__(self, ledger: Ledger, store: HybridVectorStore, options: Options) -> None:
        self._ledger = ledger
        self._store = store
        self._options = options

    def search(
        self,
        embedding: Sequence[float],
        *,
        strategy: Strategy | str | None = None,
        top_k: int = 5,
        threshold: float | None = None,
    ) -> SearchResult:
        """Search with an embedding of the pack in use; it need not be normalised.

        Raises:
            BadInput: invalid_embedding (wrong length, not finite, zero), bad_strategy, bad_parameter.
            Unavailable: search_unavailable. Busy: busy.
        """
        options = self._options.checked(strategy, top_k, threshold)
        return self._store.search(
            embedding,
            k=options.top_k,
            strategy=self._options.strategy(options),
            threshold=self._options.threshold(options.threshold),
        )

    def submit(
        self,
        embedding: Sequence[float],
        *,
        strategy: Strategy | str | None = None,
        top_k: int = 5,
        threshold: float | None = None,
    ) -> Future[list[SearchResult]]:
        """As `search`, for callers that must not wait: the future gives the one result."""
        options = self._options.checked(strategy, top_k, threshold)
        return self._store.submit(
            embedding,
            k=options.top_k,
            strategy=self._options.strategy(options),
            threshold=self._options.threshold(options.threshold),
        )

    def recognise(self, faces: Sequence[Face], options: VerifyOptions) -> tuple[SearchResult, ...]:
        """Who each face of a picture is: searched for in one batch, or compared with one person's templates.

        What the picture does not bear out is no match, however similar: see `core.domain.decisions`.
        """
        if not faces:
            return ()
        threshold = self._options.threshold(options.threshold)
        if options.user_id is not None:
            results = [self._compare(face, options.user_id, threshold) for face in faces]
        else:
            probes = np.stack([face.embedding for face in faces])
            results = self._store.search_batch(
                probes, k=options.top_k, strategy=self._options.strategy(options), threshold=threshold
            )
        decided = decisions.settled(faces, results)
        tracing.searched(decided)
        self._store.metrics.recognised(decided)
        return decided

    def as_named_now(self, kept: Sequence[SearchResult]) -> tuple[SearchResult, ...] | None:
        """Results that somebody kept, with the names of now; None when a person in them is gone, by an
        erasure or a merger in any process: search again, for who is left may be decided on otherwise.
        """
        wanted = {candidate.template_id for search in kept for candidate in search.candidates}
        living = self._ledger.feed.resolve(wanted)
        if len(living) < len(wanted):
            return None
        return tuple(
            replace(search, candidates=tuple(_named_now(c, living[c.template_id]) for c in search.candidates))
            for search in kept
        )

    def _compare(self, face: Face, user_id: str, threshold: float) -> SearchResult:
        """1:1: the face against one person's own templates, exactly."""
        started = time.perf_counter()
        templates = self._ledger.people.templates(user_id)
        if not templates:
            self._ledger.people.one(user_id)  # erased meanwhile: says so
        rule = self._store.rule(threshold)
        own = {templates[0].person: templates}
        if unbacked(face.embedding, own, threshold - rule.review_band):
            templates = tuple(template for template in templates if template.vouched)
        similarities = np.stack([template.vector for template in templates]) @ face.embedding
        best = int(np.argmax(similarities))
        similarity = float(similarities[best])
        owner = templates[best]
        return SearchResult(
            candidates=(Candidate(owner.user_id, owner.name, similarity, Source.LEDGER, owner.template_id),),
            decision=rule.decide([similarity]),
            strategy=None,
            threshold=threshold,
            tiers=("ledger",),
            degraded=(),
            cache_top1_wrong=False,
            timings=SearchTimings(total=(time.perf_counter() - started) * 1e3),
            review_floor=rule.review_floor,
        )


def _named_now(candidate: Candidate, template: StoredTemplate) -> Candidate:
    return replace(candidate, user_id=template.user_id, name=template.name)
