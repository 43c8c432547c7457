"""A camera that coaches one person and takes the photos to enroll."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.errors import RobiError
from core.faces.pose import Pose, pose_of
from core.faces.quality import sentence
from core.inputs import MAX_PHOTOS
from core.live.session import LiveSession, relative
from core.service import RobiService
from core.types import Face, Image, PhotoVerdict

GOAL = 5  # photos that an enrollment takes by itself
_STILL = 0.12  # movement between frames, in inter-eye distances, that still counts as holding still
_ASK = {
    Pose.FRONT: "Look straight into the camera",
    Pose.LEFT: "Turn a little to your left",
    Pose.RIGHT: "Turn a little to your right",
    Pose.UP: "Lift your chin a little",
    Pose.DOWN: "Lower your chin a little",
}


@dataclass(frozen=True, slots=True, eq=False)
class EnrollSnapshot:
    connected: bool
    coach: str
    coach_ok: bool
    samples: tuple[PhotoVerdict, ...]
    error: RobiError | None


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

    def holds_work(self) -> bool:
        with self._lock:
            return bool(self._samples)

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
        verdict = self.service.judge(f"Camera {self._taken + 1}", image, live=True)
        still = self._is_still(verdict.face)
        with self._lock:
            coach = self._take(verdict, still)
            self._coach = coach
            captured = len(self._samples)
        height, width = image.shape[:2]
        boxes = [relative(verdict.face.box, width, height)] if verdict.face else []
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
