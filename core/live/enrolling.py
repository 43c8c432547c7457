"""A camera that coaches one person and takes the photos to enroll."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.domain.errors import RobiError
from core.domain.faces import Face, Image, PhotoVerdict, Reason
from core.domain.validation import MAX_PHOTOS
from core.faces import images
from core.faces.pose import Pose, pose_of
from core.faces.quality import sentence
from core.live.session import LiveSession, relative
from core.services.service import RobiService

GOAL = 5  # photos that an enrollment takes by itself
ENOUGH = 3  # good photos that recognise well
_STILL = 0.12  # movement between frames, in inter-eye distances, that still counts as holding still
_PRESS_S = 2.0  # a press of the button waits so long for a usable frame: it is meant for who is in view now
_TOLD_S = 3.0  # how long it is said that a press took no photo
_POOR_AFTER_S = 5.0  # after so long without a better frame, one with a warning is taken
_PATIENCE_S = 8.0  # after so long without a new photo, it is said that those taken may be saved
_ASK = {
    Pose.FRONT: "look straight into the camera",
    Pose.LEFT: "turn a little to your left",
    Pose.RIGHT: "turn a little to your right",
    Pose.UP: "lift your chin a little",
    Pose.DOWN: "lower your chin a little",
}
_TOO_FAR = "Not so far: turn back a little towards the camera"


@dataclass(frozen=True, slots=True, eq=False)
class EnrollSnapshot:
    connected: bool
    samples: tuple[PhotoVerdict, ...]
    error: RobiError | None


@dataclass(frozen=True, slots=True, eq=False)
class TakenPhoto:
    """A photo that the camera took; one taken `by_hand` is never replaced."""

    verdict: PhotoVerdict
    pose: Pose
    by_hand: bool
    number: int = 0  # in the order of taking

    @property
    def good(self) -> bool:
        return not self.verdict.warnings


class EnrollLive(LiveSession):
    """Coaches one person and takes photos: good frames by itself, any usable frame on `capture`."""

    def __init__(
        self,
        service: RobiService,
        samples: Sequence[TakenPhoto] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(service)
        self.auto = True
        self._clock = clock
        self._samples = tuple(samples)
        self._taken = max((sample.number for sample in samples), default=0)
        self._wanted_until = self._told_until = 0.0
        self._changed_at = clock()  # when a photo was taken last
        self._poor_since: float | None = None  # since when only frames with a warning have come
        self._problem: str | None = None  # why the last frame cannot be taken
        self._last_centre: tuple[float, float] | None = None

    def snapshot(self) -> EnrollSnapshot:
        with self._lock:
            verdicts = tuple(sample.verdict for sample in self._samples)
            return EnrollSnapshot(self._look(), verdicts, self._error)

    @property
    def samples(self) -> tuple[TakenPhoto, ...]:
        with self._lock:
            return self._samples

    def holds_work(self) -> bool:
        with self._lock:
            return bool(self._samples)

    def capture(self) -> None:
        """Take the next usable frame of whoever is in view now, whatever the pose."""
        with self._lock:
            self._wanted_until = self._clock() + _PRESS_S

    def cannot_take(self) -> str | None:
        """Why a photo could not be taken now, in a sentence; None when it could."""
        with self._lock:
            if len(self._samples) >= MAX_PHOTOS:
                return "All photos are taken. Remove one first."
            if not self._look():
                return "The camera has sent no picture yet."
            return self._problem

    def remove(self, index: int) -> None:
        with self._lock:
            self._samples = self._samples[:index] + self._samples[index + 1 :]

    def drop(self, photo: str) -> None:
        """Forget the photo of this name, if it is still there."""
        with self._lock:
            self._samples = tuple(sample for sample in self._samples if sample.verdict.photo != photo)

    def clear(self) -> None:
        with self._lock:
            self._samples = ()

    def _answer(self, image: Image) -> dict[str, Any]:
        verdict = self.service.pictures.judge(f"Camera {self._taken + 1}", image, live=True)
        still = self._is_still(verdict.face)
        with self._lock:
            coach, ok = self._told(*self._take(verdict, still, image))
            captured = len(self._samples)
        height, width = image.shape[:2]
        boxes = [relative(verdict.face.box, width, height)] if verdict.face else []
        return {
            "type": "result",
            "faces": [{"box": b, "label": "", "similarity": None, "decision": None} for b in boxes],
            "coach": {"text": coach, "ok": ok},
            "captured": captured,
            "goal": GOAL,
        }

    def _told(self, text: str, ok: bool) -> tuple[str, bool]:
        """The line of coaching; for a while also that a press took no photo. The lock is held."""
        now = self._clock()
        if self._wanted_until and now >= self._wanted_until:
            self._wanted_until, self._told_until = 0.0, now + _TOLD_S
        if now < self._told_until and not ok:
            return f"No photo was taken. {text}", False
        return text, ok

    def _take(self, verdict: PhotoVerdict, still: bool, image: Image) -> tuple[str, bool]:
        """Keep the frame if it is wanted; the line of coaching either way. The lock is held."""
        face = verdict.face
        self._problem = self._why_not(verdict)
        if face is None or self._problem:
            self._poor_since = None
            return self._problem or "", False
        if self._clock() < self._wanted_until:
            return self._by_hand(TakenPhoto(verdict, pose_of(face), by_hand=True), image)
        if len(self._samples) >= GOAL and all(sample.good for sample in self._samples):
            return "All photos taken", True
        if not still:
            return "Hold still", False
        pose = pose_of(face)
        sample = TakenPhoto(_as_asked(verdict, pose), pose, by_hand=False)
        if self.auto and self._by_itself(sample, image):
            return "Good", True
        return self._ask()

    def _why_not(self, verdict: PhotoVerdict) -> str | None:
        """What keeps a frame from being taken at all."""
        if verdict.face is not None:
            same = self._same_person(verdict.face)
            return None if same else "This is somebody else: one person at a time"
        # Once there is a photo from the front, turns are asked for, which "look straight" would contradict.
        turned = verdict.rejects[0] is Reason.TURNED_AWAY
        return _TOO_FAR if turned and self._missing() is not Pose.FRONT else sentence(verdict.rejects[0])

    def _by_hand(self, sample: TakenPhoto, image: Image) -> tuple[str, bool]:
        self._wanted_until = 0.0
        if len(self._samples) >= MAX_PHOTOS:
            return "All photos taken", True
        self._keep(sample, self._samples, image)
        return "Good", True

    def _by_itself(self, sample: TakenPhoto, image: Image) -> bool:
        """Keep a frame of a new pose, or a good one in place of a photo with a warning. Whether it was kept.

        A frame with a warning is kept only after `_POOR_AFTER_S`.
        """
        same_pose = [kept for kept in self._samples if kept.pose is sample.pose]
        worse = [kept for kept in same_pose if not kept.by_hand and not kept.good]
        if same_pose and not (worse and sample.good):
            return False
        if not same_pose and len(self._samples) >= GOAL:
            return False
        if not sample.good and not self._waited():
            return False
        self._keep(sample, [kept for kept in self._samples if kept not in worse], image)
        return True

    def _waited(self) -> bool:
        """Whether only frames with a warning have come for so long that one must do."""
        if self._poor_since is None:
            self._poor_since = self._clock()
        return self._clock() - self._poor_since >= _POOR_AFTER_S

    def _keep(self, sample: TakenPhoto, beside: Sequence[TakenPhoto], image: Image) -> None:
        face = sample.verdict.face
        assert face is not None  # noqa: S101  no other is taken
        self._taken += 1
        self._poor_since, self._changed_at = None, self._clock()
        named = replace(
            sample.verdict, photo=f"Camera {self._taken}", thumbnail=images.thumbnail(image, face.box)
        )
        self._samples = (*beside, replace(sample, verdict=named, number=self._taken))

    def _missing(self) -> Pose | None:
        taken = {sample.pose for sample in self._samples}
        return next((pose for pose in Pose if pose not in taken), None)

    def _ask(self) -> tuple[str, bool]:
        """What to do next. Who has enough photos, or cannot do what is asked, hears that they may save."""
        missing = self._missing()
        if missing is None or len(self._samples) >= GOAL:
            return "You may save now", True
        waited = bool(self._samples) and self._clock() - self._changed_at >= _PATIENCE_S
        if waited or sum(sample.good for sample in self._samples) >= ENOUGH:
            return f"You may save now, or {_ASK[missing]}", True
        return _ASK[missing].capitalize(), True

    def _same_person(self, face: Face) -> bool:
        if not self._samples:
            return True
        kept = np.stack([s.verdict.face.embedding for s in self._samples if s.verdict.face])
        return float(np.max(kept @ face.embedding)) >= self.service.tuning.now.review_floor

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


def _as_asked(verdict: PhotoVerdict, pose: Pose) -> PhotoVerdict:
    """A turn that was asked for is no fault of the photo."""
    if pose is Pose.FRONT:
        return verdict
    kept = tuple(reason for reason in verdict.warnings if reason is not Reason.TURNED_AWAY)
    return replace(verdict, warnings=kept)
