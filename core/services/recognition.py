"""Who is in a picture: from its bytes to the decision, measured and put on record."""

from __future__ import annotations

import time
from collections.abc import Sequence

from core.domain.errors import Unusable
from core.domain.faces import Analysis, Purpose
from core.domain.recognition import FaceResult, IdentifyResult, VerifyResult
from core.domain.search import Decision, SearchResult, Strategy
from core.faces import quality
from core.metrics import VERIFICATION, Metrics, as_request
from core.services.events import Events
from core.services.matching import Matching
from core.services.options import Options
from core.services.pictures import Pictures, left_out
from core.telemetry import tracing


class Recognition:
    """Safe to call from many threads."""

    def __init__(
        self,
        metrics: Metrics,
        pictures: Pictures,
        options: Options,
        matching: Matching,
        events: Events,
    ) -> None:
        self.metrics = metrics
        self._pictures = pictures
        self._options = options
        self._matching = matching
        self._events = events

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
        (search,) = self._matching.recognise((face,), options)
        self._events.note(search, "1:N" if user_id is None else "1:1", via=via)
        return VerifyResult(
            face=face,
            faces=len(analysis.faces) + analysis.faces_left_out,
            search=search,
            verified=search.decision is Decision.MATCH,
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
        searches = self._matching.recognise(analysis.faces, options)
        for search in searches:
            self._events.note(search, "1:N", via=via)
        faces = tuple(FaceResult(face, search) for face, search in zip(analysis.faces, searches, strict=True))
        more = analysis.faces_left_out
        warnings = left_out(data, smaller_faces=more > 0)
        return IdentifyResult(faces, latency_ms(analysis, searches, started), more, warnings)


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
