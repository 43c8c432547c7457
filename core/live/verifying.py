"""A camera that recognises whoever is in view."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from core.decisions import held_back, shown
from core.errors import RobiError
from core.faces.quality import advice
from core.faces.tracking import FaceTracker
from core.live.session import LiveSession, relative
from core.metrics import VERIFICATION
from core.service import RobiService, latency_ms
from core.types import (
    Analysis,
    Box,
    Decision,
    Image,
    Purpose,
    SearchResult,
    StoredTemplate,
    VerifyOptions,
)

MAX_FACES = 8  # per frame; the largest win
_STEADY_FRAMES = 3  # equal decisions in a row before one is put on record
_LABELS = {Decision.REVIEW: "Check", Decision.UNKNOWN: "Not recognised"}


@dataclass(frozen=True, slots=True)
class LiveFace:
    """One face of the newest frame. `track` stays the same while the face stays in view."""

    track: int
    box: Box
    search: SearchResult
    note: str | None  # what would make the picture better


@dataclass(frozen=True, slots=True)
class VerifySnapshot:
    connected: bool
    faces: tuple[LiveFace, ...]  # largest first
    latency_ms: Mapping[str, float]
    recognitions_per_s: float
    frames: int
    error: RobiError | None


class VerifyLive(LiveSession):
    """Recognises every face of every frame. `options` may be replaced at any time."""

    def __init__(self, service: RobiService, options: VerifyOptions) -> None:
        super().__init__(service)
        self.options = options
        self._tracker = FaceTracker()
        self._steady: dict[int, tuple[tuple[str, str | None], int]] = {}
        self._faces: tuple[LiveFace, ...] = ()
        self._latency: Mapping[str, float] = {}

    def snapshot(self) -> VerifySnapshot:
        """The newest frame's faces, without people erased since; none when the camera is gone."""
        with self._lock:
            connected, rate = self._look()
            seen = VerifySnapshot(connected, self._faces, self._latency, rate, self._frames, self._error)
        return replace(seen, faces=self._without_erased(seen.faces) if connected else ())

    def _without_erased(self, faces: tuple[LiveFace, ...]) -> tuple[LiveFace, ...]:
        proposed = {c.template_id for face in faces for c in face.search.candidates}
        try:
            living = self.service.ledger.resolve(proposed)
        except RobiError:
            return ()  # nobody can say who is still enrolled
        if living.keys() == proposed:
            return faces
        return tuple(replace(face, search=self._narrowed(face.search, living)) for face in faces)

    def _narrowed(self, search: SearchResult, living: Mapping[int, StoredTemplate]) -> SearchResult:
        left = tuple(c for c in search.candidates if c.template_id in living)
        decision = self.service.rule(search.threshold).decide(
            [c.similarity for c in left], [living[c.template_id].person for c in left]
        )
        return held_back(replace(search, candidates=left, decision=decision), search.held_back_by)

    def _answer(self, image: Image) -> dict[str, Any]:
        started = time.perf_counter()
        with self.service.metrics.request(VERIFICATION):
            analysis = self.service.analyze(image, Purpose.VERIFY)
            found = analysis.faces[:MAX_FACES]
            searches = self.service.recognise(found, self.options)
        tracks = self._tracker.update([face.box for face in found], time.monotonic())
        faces = tuple(
            LiveFace(track, face.box, search, advice(face.quality))
            for track, face, search in zip(tracks, found, searches, strict=True)
        )
        self._put_on_record(faces)
        with self._lock:
            self._faces = faces
            self._latency = latency_ms(analysis, searches, started)
        return {
            "type": "result",
            "faces": [_drawn(face, analysis) for face in faces],
            "coach": None,
            "captured": 0,
            "goal": 0,
        }

    def _put_on_record(self, faces: tuple[LiveFace, ...]) -> None:
        """Once per face in view and per decision, when the decision has been steady."""
        steady = {}
        for face in faces:
            best = face.search.best
            verdict = (face.search.decision.value, best.user_id if best else None)
            if face.search.decision is Decision.UNKNOWN:
                verdict = (verdict[0], None)
            before, count = self._steady.get(face.track, (verdict, 0))
            count = count + 1 if before == verdict else 1
            if count == _STEADY_FRAMES:
                self.service.note(face.search, "live")
            steady[face.track] = (verdict, count)
        self._steady = steady


def _drawn(face: LiveFace, analysis: Analysis) -> dict[str, Any]:
    search = face.search
    best = search.best
    label = best.name if best and search.decision is Decision.MATCH else _LABELS.get(search.decision, "")
    if best and search.decision is Decision.REVIEW:
        label = f"{label}: {best.name}?"
    return {
        "box": relative(face.box, analysis.width, analysis.height),
        "label": label,
        "similarity": shown(best.similarity, search.threshold, 2) if best else None,
        "decision": search.decision.value,
    }
