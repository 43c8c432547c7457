"""Who is in a picture, or whose embedding it is: 1:N and 1:1."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

import numpy as np

from core.domain import decisions
from core.domain.errors import Unusable
from core.domain.faces import Analysis, Face, Purpose
from core.domain.recognition import FaceResult, IdentifyResult, VerifyOptions, VerifyResult
from core.domain.search import Candidate, Decision, SearchResult, SearchTimings, Source, Strategy
from core.domain.templates import StoredTemplate
from core.faces import quality
from core.ledger.ledger import Ledger
from core.metrics import VERIFICATION, as_request
from core.services.events import Events
from core.services.options import Options
from core.services.pictures import Pictures, left_out
from core.services.tuning import Tuner
from core.store.hybrid import HybridVectorStore
from core.store.search.merge import unbacked
from core.telemetry import tracing


class Recognition:
    """Safe to call from many threads."""

    def __init__(
        self,
        ledger: Ledger,
        store: HybridVectorStore,
        pictures: Pictures,
        options: Options,
        events: Events,
        tuning: Tuner,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self.metrics = store.metrics
        self._pictures = pictures
        self._options = options
        self._events = events
        self._tuning = tuning

    @tracing.traced
    @as_request(VERIFICATION)
    def verify(
        self,
        data: bytes,
        *,
        user_id: str | None = None,
        strategy: Strategy | str | None = None,
        top_k: int = 5,
        threshold: float | None = None,
        via: str = "api",
    ) -> VerifyResult:
        """Check the largest face of a picture: against everybody, or against one person (1:1).

        `via` goes on record: "api", or "photo" for one that was chosen on the screen.

        Raises:
            Unusable: no_face, too_dark, too_bright. NotFound: unknown_person.
            BadInput: bad_strategy, bad_parameter.
        """
        started = time.perf_counter()
        options = self._options.checked(strategy, top_k, threshold, user_id)
        analysis = self._pictures.analyze(self._pictures.decode(data), Purpose.VERIFY)
        if not analysis.faces:
            why = quality.why_nobody(analysis)
            raise Unusable(why.value, "No face was found in the picture.", quality.sentence(why))
        face = analysis.faces[0]
        (search,) = self.recognise((face,), options)
        self._events.note(search, "1:N" if user_id is None else "1:1", via=via)
        return VerifyResult(
            face=face,
            faces=len(analysis.faces) + analysis.faces_left_out,
            search=search,
            verified=search.decision is Decision.MATCH,
            strategy=search.strategy or self._tuning.now.strategy,
            latency_ms=latency_ms(analysis, (search,), started),
            warnings=left_out(data, smaller_faces=len(analysis.faces) > 1),
        )

    @tracing.traced
    @as_request(VERIFICATION)
    def identify(
        self,
        data: bytes,
        *,
        strategy: Strategy | str | None = None,
        top_k: int = 5,
        threshold: float | None = None,
        via: str = "api",
    ) -> IdentifyResult:
        """Look up every face of a picture. No face gives no results, not an error."""
        started = time.perf_counter()
        options = self._options.checked(strategy, top_k, threshold)
        analysis = self._pictures.analyze(self._pictures.decode(data), Purpose.VERIFY)
        searches = self.recognise(analysis.faces, options)
        for search in searches:
            self._events.note(search, "1:N", via=via)
        faces = tuple(FaceResult(face, search) for face, search in zip(analysis.faces, searches, strict=True))
        more = analysis.faces_left_out
        warnings = left_out(data, smaller_faces=more > 0)
        return IdentifyResult(faces, latency_ms(analysis, searches, started), more, warnings)

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
        self.metrics.recognised(decided)
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
            review_floor=self._store.rule(threshold).review_floor,
        )


def _named_now(candidate: Candidate, template: StoredTemplate) -> Candidate:
    return replace(candidate, user_id=template.user_id, name=template.name)


def latency_ms(analysis: Analysis, searches: Sequence[SearchResult], started: float) -> dict[str, float]:
    """The stages of a recognition in milliseconds; `started` is from `time.perf_counter`.

    Faces of one picture are searched for in one batch, so their search time is the slowest one's.
    """
    return {
        "detect": round(analysis.detect_ms, 3),
        "embed": round(analysis.embed_ms, 3),
        "search": round(max((search.timings.total for search in searches), default=0.0), 3),
        "total": round((time.perf_counter() - started) * 1e3, 3),
    }
