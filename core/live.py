"""Live camera sessions: one frame in, one answer out, and a snapshot for the page beside the video.

The browser sends its newest frame only after the last one was answered, so there is never a backlog.
"""

from __future__ import annotations

import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.errors import Busy, RobiError
from core.faces.pose import Pose, pose_of
from core.faces.quality import sentence
from core.faces.tracking import FaceTracker
from core.inputs import MAX_PHOTOS
from core.metrics import VERIFICATION
from core.service import RobiService, latency_ms
from core.types import (
    Analysis,
    Box,
    Decision,
    Face,
    Image,
    PhotoVerdict,
    Purpose,
    SearchResult,
    StoredTemplate,
    VerifyOptions,
)

MAX_SESSIONS = 64
MAX_FRAME_BYTES = 1_000_000
MAX_FACES = 8  # per frame; the largest win
GOAL = 5  # photos that an enrollment takes by itself
IDLE_S = 120.0  # a session whose browser and page are both gone is closed after this
_CONNECTED_S = 3.0  # without a frame for longer, the camera counts as gone
_STILL = 0.12  # movement between frames, in inter-eye distances, that still counts as holding still
_STEADY_FRAMES = 3  # equal decisions in a row before one is put on record

_LABELS = {Decision.REVIEW: "Check", Decision.UNKNOWN: "Not recognised"}
_ASK = {
    Pose.FRONT: "Look straight into the camera",
    Pose.LEFT: "Turn a little to your left",
    Pose.RIGHT: "Turn a little to your right",
    Pose.UP: "Lift your chin a little",
    Pose.DOWN: "Lower your chin a little",
}


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


@dataclass(frozen=True, slots=True, eq=False)
class EnrollSnapshot:
    connected: bool
    coach: str
    coach_ok: bool
    samples: tuple[PhotoVerdict, ...]
    error: RobiError | None


class LiveSession(ABC):
    """One camera: what both kinds of session share. `process` is called by one thread at a time."""

    def __init__(self, service: RobiService) -> None:
        self.token = secrets.token_urlsafe(24)
        self.service = service
        self._lock = threading.Lock()
        self._frames = 0
        self._answered: deque[float] = deque(maxlen=60)
        self._touched = time.monotonic()
        self._error: RobiError | None = None

    def process(self, jpeg: bytes) -> dict[str, Any]:
        """Answer one frame, JSON-ready. What is wrong with a frame is the answer, not an exception."""
        try:
            answer = self._answer(self.service.decode(jpeg))
        except RobiError as problem:
            self.service.metrics.error(problem.code)
            with self._lock:
                self._error = problem
            return {"type": "error", "code": problem.code, "message": problem.message, "hint": problem.hint}
        with self._lock:
            self._error = None
            self._frames += 1
            self._answered.append(time.monotonic())
        return answer

    def capture(self) -> None:  # noqa: B027  verifying takes no photos
        """Take the next usable frame; only enrolling does."""

    def idle_s(self) -> float:
        """Seconds since a frame was answered or a page looked."""
        with self._lock:
            last = self._answered[-1] if self._answered else 0.0
            return time.monotonic() - max(last, self._touched)

    @abstractmethod
    def _answer(self, image: Image) -> dict[str, Any]: ...

    def _look(self) -> tuple[bool, float]:
        """Whether frames are coming, and how many per second. The lock is held."""
        now = self._touched = time.monotonic()
        recent = [at for at in self._answered if now - at <= _CONNECTED_S]
        if len(recent) < 2:
            return bool(recent), 0.0
        return True, round((len(recent) - 1) / (recent[-1] - recent[0]), 1)


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
        return replace(search, candidates=left, decision=decision)

    def _answer(self, image: Image) -> dict[str, Any]:
        started = time.perf_counter()
        with self.service.metrics.request(VERIFICATION):
            analysis = self.service.analyze(image, Purpose.VERIFY)
            found = analysis.faces[:MAX_FACES]
            searches = self.service.recognise(found, self.options)
        tracks = self._tracker.update([face.box for face in found], time.monotonic())
        faces = tuple(
            LiveFace(track, face.box, search, _note(face))
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


class EnrollLive(LiveSession):
    """Coaches one person and takes photos: good frames by itself, any usable frame on `capture`."""

    def __init__(self, service: RobiService) -> None:
        super().__init__(service)
        self.auto = True
        self._samples: tuple[tuple[PhotoVerdict, Pose], ...] = ()
        self._taken = 0
        self._wanted = False
        self._last_centre: tuple[float, float] | None = None
        self._coach = ("Starting the camera", False)

    def snapshot(self) -> EnrollSnapshot:
        with self._lock:
            connected, _ = self._look()
            coach, ok = self._coach
            return EnrollSnapshot(
                connected,
                coach,
                ok,
                tuple(verdict for verdict, _ in self._samples),
                self._error,
            )

    def capture(self) -> None:
        """Take the next usable frame, whatever its pose."""
        with self._lock:
            self._wanted = True

    def remove(self, index: int) -> None:
        with self._lock:
            self._samples = self._samples[:index] + self._samples[index + 1 :]

    def clear(self) -> None:
        with self._lock:
            self._samples = ()

    def _answer(self, image: Image) -> dict[str, Any]:
        verdict = self.service.judge(f"Camera {self._taken + 1}", image)
        still = self._is_still(verdict.face)
        with self._lock:
            coach = self._take(verdict, still)
            self._coach = coach
            captured = len(self._samples)
        height, width = image.shape[:2]
        boxes = [_relative(verdict.face.box, width, height)] if verdict.face else []
        return {
            "type": "result",
            "faces": [{"box": b, "label": "", "similarity": None, "decision": None} for b in boxes],
            "coach": {"text": coach[0], "ok": coach[1]},
            "captured": captured,
            "goal": GOAL,
        }

    def _take(self, verdict: PhotoVerdict, still: bool) -> tuple[str, bool]:
        """Keep the frame if it is wanted; the line of coaching either way. The lock is held."""
        face = verdict.face
        if face is None:
            return sentence(verdict.rejects[0]), False
        if not self._same_person(face):
            return "This is somebody else: one person at a time", False
        pose = pose_of(face)
        taken = {kept for _, kept in self._samples}
        full = len(self._samples) >= (MAX_PHOTOS if self._wanted else GOAL)
        if not full and (self._wanted or (self.auto and still and pose not in taken)):
            self._taken += 1
            self._wanted = False
            self._samples = (*self._samples, (replace(verdict, photo=f"Camera {self._taken}"), pose))
            return "Good", True
        if full:
            self._wanted = False
            return "All photos taken", True
        if not still:
            return "Hold still", False
        missing = next((ask for ask in Pose if ask not in taken), None)
        return (_ASK[missing], True) if missing else ("Take one more, or save", True)

    def _same_person(self, face: Face) -> bool:
        if not self._samples:
            return True
        kept = np.stack([verdict.face.embedding for verdict, _ in self._samples if verdict.face])
        return float(np.max(kept @ face.embedding)) >= self.service.tuning.review_floor

    def _is_still(self, face: Face | None) -> bool:
        """Whether the face has hardly moved since the last frame. One thread at a time calls this."""
        before, self._last_centre = self._last_centre, None
        if face is None:
            return False
        eyes = face.landmarks[:2]
        x, y = (float(v) for v in face.landmarks[2])
        self._last_centre = (x, y)
        if before is None:
            return False
        moved = float(np.hypot(x - before[0], y - before[1]))
        return moved <= _STILL * float(np.linalg.norm(eyes[1] - eyes[0]))


class LiveSessions:
    """All live sessions of this process, found by their secret token. Bounded; idle ones are closed."""

    def __init__(self, service: RobiService) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._sessions: dict[str, LiveSession] = {}
        service.metrics.watch("live_sessions", self.__len__)

    def __len__(self) -> int:
        with self._lock:
            self._expire()
            return len(self._sessions)

    def open_verify(self, options: VerifyOptions) -> VerifyLive:
        """Raises Busy: too_many_cameras."""
        session = VerifyLive(self._service, options)
        self._add(session)
        return session

    def open_enroll(self) -> EnrollLive:
        """Raises Busy: too_many_cameras."""
        session = EnrollLive(self._service)
        self._add(session)
        return session

    def get(self, token: str) -> LiveSession | None:
        with self._lock:
            return self._sessions.get(token)

    def close(self, token: str) -> None:
        with self._lock:
            self._sessions.pop(token, None)

    def _add(self, session: LiveSession) -> None:
        with self._lock:
            self._expire()
            if len(self._sessions) >= MAX_SESSIONS:
                raise Busy("too_many_cameras", "Too many cameras are in use.", "Close one and try again.")
            self._sessions[session.token] = session

    def _expire(self) -> None:
        gone = [token for token, session in self._sessions.items() if session.idle_s() > IDLE_S]
        for token in gone:
            del self._sessions[token]


def _note(face: Face) -> str | None:
    found = face.quality.rejects or face.quality.warnings
    return sentence(found[0]) if found else None


def _drawn(face: LiveFace, analysis: Analysis) -> dict[str, Any]:
    search = face.search
    best = search.best
    label = best.name if best and search.decision is Decision.MATCH else _LABELS.get(search.decision, "")
    if best and search.decision is Decision.REVIEW:
        label = f"{label}: {best.name}?"
    return {
        "box": _relative(face.box, analysis.width, analysis.height),
        "label": label,
        "similarity": round(best.similarity, 3) if best else None,
        "decision": search.decision.value,
    }


def _relative(box: Box, width: int, height: int) -> list[float]:
    x, y = box.x1 / width, box.y1 / height
    return [round(v, 4) for v in (x, y, box.width / width, box.height / height)]
