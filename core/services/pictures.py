"""From bytes to faces: decoding within the limits, finding and embedding, and judging photos."""

from __future__ import annotations

from dataclasses import replace

from core.config.settings import Settings
from core.domain.faces import Analysis, Image, PhotoVerdict, Purpose, Reason
from core.faces import images, quality
from core.faces.animation import frames
from core.faces.engine import FaceEngine
from core.metrics import Metrics
from core.services.tuning import Tuner
from core.telemetry import tracing


class Pictures:
    """Safe to call from many threads."""

    def __init__(self, settings: Settings, engine: FaceEngine, metrics: Metrics, tuning: Tuner) -> None:
        self._settings = settings
        self._engine = engine
        self._metrics = metrics
        self._tuning = tuning

    def decode(self, data: bytes) -> Image:
        """Bytes to a picture, within the configured limits. Raises what `core.faces.images` raises."""
        return images.decode(
            data,
            max_bytes=self._settings.robi_max_upload_mb * 1_000_000,
            max_pixels=self._settings.robi_max_image_megapixels * 1_000_000,
        )

    def analyze(self, image: Image, purpose: Purpose, *, live: bool = False) -> Analysis:
        """All faces of a picture, largest first; measured. A `live` one is not turned to find anybody: the
        next frame comes at once, and most without a face have nobody in view."""
        analysis = self._engine.analyze(
            image, purpose=purpose, least_eye_distance=self._tuning.now.min_eye_distance, turn=not live
        )
        tracing.analysed(analysis)
        self._metrics.stage("detect", analysis.detect_ms)
        if analysis.faces:
            self._metrics.stage("embed", analysis.embed_ms)
        return analysis

    def inspect(self, photo: str, data: bytes) -> PhotoVerdict:
        """Whether a photo can be enrolled, and why not. Raises if it is no readable image."""
        image = self.decode(data)
        analysis = self.analyze(image, Purpose.ENROLL)
        verdict = quality.judge_photo(photo, analysis)
        others = verdict.face is not None and len(analysis.faces) > 1
        warnings = (*verdict.warnings, *left_out(data, smaller_faces=others))
        return replace(verdict, warnings=warnings, thumbnail=_thumbnail(image, analysis))

    def judge(self, photo: str, image: Image, *, live: bool = False) -> PhotoVerdict:
        """As `inspect`, for a picture that is decoded already; of a film if `live`.

        Who else is in the background of a camera's picture needs no word. There is no thumbnail yet: of
        many frames few are kept.
        """
        return quality.judge_photo(photo, self.analyze(image, Purpose.ENROLL, live=live), live=live)


def _thumbnail(image: Image, analysis: Analysis) -> bytes | None:
    if not analysis.faces:
        return None
    return images.thumbnail(image, quality.subject(analysis.faces).box, quarter_turns=analysis.quarter_turns)


def left_out(data: bytes, *, smaller_faces: bool) -> tuple[Reason, ...]:
    """What of a file was not looked at."""
    found = ((Reason.ANIMATION, frames(data) > 1), (Reason.SMALLER_FACES, smaller_faces))
    return tuple(reason for reason, applies in found if applies)
