"""A camera that recognises whoever is in view."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from core.config.tuning import Tuning
from core.domain.decisions import held_back, matched_once, shown
from core.domain.errors import RobiError, Unavailable
from core.domain.events import NewEvent
from core.domain.faces import Analysis, Box, Face, Image, Purpose
from core.domain.recognition import VerifyOptions
from core.domain.search import Decision, SearchResult
from core.domain.templates import StoredTemplate
from core.faces.quality import advice
from core.faces.tracking import FaceTracker
from core.live.session import LiveSession, relative
from core.live.track_decision import TrackDecision, Verdict
from core.metrics import VERIFICATION
from core.services.recognition import latency_ms
from core.services.service import RobiService

MAX_FACES = 8  # per frame; the largest win
NAMESAKES_S = 1.0  # for so long an answer to who shares a name with whom is used
_LABELS = {Decision.REVIEW: "Check", Decision.UNKNOWN: "Not recognised"}
_RANK = {Decision.UNKNOWN: 0, Decision.REVIEW: 1, Decision.MATCH: 2}


@dataclass(frozen=True, slots=True)
class LiveFace:
    """One face of the newest frame, with the one decision of its track.

    `track` stays the same while the face stays in view, and so does `number`: the smallest that was free.
    """

    track: int
    number: int
    box: Box
    search: SearchResult | None  # None until enough frames have agreed
    note: str | None  # what would make the picture better


@dataclass(slots=True, eq=False)
class _Visit:
    """What is known of one track."""

    number: int
    decision: TrackDecision = field(default_factory=TrackDecision)
    on_record: dict[str | None, tuple[Decision, NewEvent]] = field(default_factory=dict)  # by who was named


@dataclass(frozen=True, slots=True)
class VerifySnapshot:
    connected: bool
    faces: tuple[LiveFace, ...]  # largest first
    more: int  # faces in view beyond those
    latency_ms: Mapping[str, float]
    error: RobiError | None


class _Namesakes:
    """Who of those in view shares a name with somebody: asked once a second, for frames are many."""

    def __init__(self, service: RobiService) -> None:
        self._service = service
        self._at = -math.inf
        self._asked: frozenset[str] = frozenset()
        self._shared: frozenset[str] = frozenset()

    def among(self, faces: Iterable[SearchResult | None], at: float) -> frozenset[str]:
        ids = frozenset(c.user_id for search in faces if search for c in search.candidates)
        if at - self._at > NAMESAKES_S or not ids <= self._asked:
            with suppress(Unavailable):
                self._shared = self._service.names.shared(ids)
                self._asked, self._at = ids, at
        return self._shared


class VerifyLive(LiveSession):
    """Recognises every face of every frame. `options` may be replaced at any time."""

    def __init__(self, service: RobiService, options: VerifyOptions) -> None:
        super().__init__(service)
        self.options = options
        self._tracker = FaceTracker()
        self._visits: dict[int, _Visit] = {}
        self._namesakes = _Namesakes(service)
        self._decided_by: tuple[VerifyOptions, Tuning] = (options, service.tuning.now)
        self._faces: tuple[LiveFace, ...] = ()
        self._more = 0
        self._latency: Mapping[str, float] = {}

    def snapshot(self) -> VerifySnapshot:
        """The newest frame's faces, without people erased since; none when the camera is gone."""
        with self._lock:
            seen = VerifySnapshot(self._look(), self._faces, self._more, self._latency, self._error)
        if not seen.connected:
            return replace(seen, faces=(), more=0)
        return replace(seen, faces=self._without_erased(seen.faces))

    def _without_erased(self, faces: tuple[LiveFace, ...]) -> tuple[LiveFace, ...]:
        proposed = {c.template_id for face in faces if face.search for c in face.search.candidates}
        try:
            living = self.service.ledger.feed.resolve(proposed)
        except RobiError:
            return ()  # nobody can say who is still enrolled
        if living.keys() == proposed:
            return faces
        return tuple(replace(face, search=self._narrowed(face.search, living)) for face in faces)

    def _narrowed(
        self, search: SearchResult | None, living: Mapping[int, StoredTemplate]
    ) -> SearchResult | None:
        if search is None:
            return None
        left = tuple(c for c in search.candidates if c.template_id in living)
        decision = self.service.store.rule(search.threshold).decide(
            [c.similarity for c in left], [living[c.template_id].person for c in left]
        )
        return held_back(replace(search, candidates=left, decision=decision), search.held_back_by)

    def _answer(self, image: Image) -> dict[str, Any]:
        started, at = time.perf_counter(), time.monotonic()
        with self.service.metrics.request(VERIFICATION):
            analysis = self.service.pictures.analyze(image, Purpose.VERIFY, live=True)
            found = analysis.faces[:MAX_FACES]
            tracks = self._follow(found, at)
            visits = [self._visits[track] for track in tracks]
            weighed = [visit.decision.weigh(face, at) for visit, face in zip(visits, found, strict=True)]
            searches = self.service.matching.recognise(weighed, self.options)
        decided = self._decide(visits, searches, at)
        shared = self._namesakes.among(decided, at)
        told_apart = [search and self.service.names.told_apart(search, shared) for search in decided]
        faces = tuple(
            LiveFace(track, visit.number, seen.box, search, advice(face.quality))
            for track, visit, seen, face, search in zip(
                tracks, visits, found, weighed, told_apart, strict=True
            )
        )
        with self._lock:
            self._faces = faces
            self._more = len(analysis.faces) - len(found) + analysis.faces_left_out
            self._latency = latency_ms(analysis, searches, started)
        return {
            "type": "result",
            "faces": [_drawn(face, analysis) for face in faces],
            "coach": None,
            "captured": 0,
            "goal": 0,
        }

    def _follow(self, found: Sequence[Face], at: float) -> list[int]:
        """The track of each face. All decisions are reopened when options or tuning have changed since."""
        tracks = self._tracker.update([f.box for f in found], at, [f.embedding for f in found])
        remembered = self._tracker.remembered | set(tracks)
        self._visits = {track: visit for track, visit in self._visits.items() if track in remembered}
        for track in tracks:
            if track not in self._visits:
                taken = {visit.number for visit in self._visits.values()}
                self._visits[track] = _Visit(next(n for n in count(1) if n not in taken))
        decided_by = (self.options, self.service.tuning.now)
        if decided_by != self._decided_by:
            self._decided_by = decided_by
            for visit in self._visits.values():
                visit.decision.reopen()
        return tracks

    def _decide(
        self, visits: Sequence[_Visit], searches: Sequence[SearchResult], at: float
    ) -> list[SearchResult | None]:
        """Each track's decision after this frame; what is drawn, shown beside it and put on record."""
        for visit, search in zip(visits, searches, strict=True):
            if self._has_lost_its_person(visit.decision, search):
                visit.decision.reopen()
            visit.decision.see(search, at)
        settled = [visit for visit in visits if visit.decision.settled]
        said = matched_once([visit.decision.settled for visit in settled if visit.decision.settled])
        for visit, search in zip(settled, said, strict=True):
            self._put_on_record(visit, search)
        by_number = {visit.number: search for visit, search in zip(settled, said, strict=True)}
        return [by_number.get(visit.number) for visit in visits]

    def _has_lost_its_person(self, decision: TrackDecision, search: SearchResult) -> bool:
        """Whether the person it names was erased. That is no matter of evidence: it counts at once."""
        named = Verdict.of(decision.settled).user_id if decision.settled else None
        if named is None or any(c.user_id == named for c in search.candidates):
            return False
        return self.service.ledger.people.find(named) is None

    def _put_on_record(self, visit: _Visit, search: SearchResult) -> None:
        """Note an event once per visit and person; a surer decision replaces the event noted before."""
        decision, who = Verdict.of(search)
        if who is None and visit.on_record:
            return
        before = visit.on_record.get(who) or visit.on_record.pop(None, None)
        if before and _RANK[decision] <= _RANK[before[0]]:
            return
        event = self.service.events.note(search, "live", instead_of=before[1] if before else None)
        visit.on_record[who] = (decision, event)


def _drawn(face: LiveFace, analysis: Analysis) -> dict[str, Any]:
    search = face.search
    best = search.best if search and search.decision is not Decision.UNKNOWN else None
    return {
        "track": face.track,
        "number": face.number,
        "box": relative(face.box, analysis.width, analysis.height),
        "label": _label(search) if search else "",
        "similarity": shown(best.similarity, search.threshold, 2) if search and best else None,
        "decision": search.decision.value if search else None,
    }


def _label(search: SearchResult) -> str:
    best = search.best
    if best and search.decision is Decision.MATCH:
        return best.name
    label = _LABELS.get(search.decision, "")
    return f"{label}: {best.name}?" if best and search.decision is Decision.REVIEW else label
