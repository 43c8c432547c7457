"""Finds the faces of an image and turns each into an embedding, with an unmodified InsightFace."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.config import Settings
from core.errors import StartError
from core.faces.landmarks import refine
from core.faces.pack import OPEN_PACK, PackLocation, discard_open_pack, ensure_pack
from core.faces.pose import head_angles
from core.faces.quality import Limits, assess, limits_for, measure
from core.types import Analysis, Box, Face, Image, PackInfo, Purpose

if TYPE_CHECKING:
    from insightface.app import FaceAnalysis

log = logging.getLogger(__name__)

DETECTION_SIZE = (640, 480)
"""Width and height that an image is fitted into; turned for an upright image."""
CLOSE_UP_SIZE = (160, 160)
"""A face that fills the image is too large for the detector, so an image without any is tried smaller."""
MOST_OBLONG = 40
"""Ratio of the sides up to which an image is looked at: a longer one shrinks to nothing in the detector."""
DETECTION_THRESHOLD = 0.6

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


class FaceEngine:
    """Faces of an image. Safe to use from several threads at once; each call runs in its caller's thread."""

    def __init__(self, app: FaceAnalysis, pack: PackInfo, provider: str, degraded: str | None) -> None:
        self._app = app
        self.pack = pack
        self.provider = provider
        self.degraded = degraded

    @classmethod
    def open(cls, settings: Settings) -> FaceEngine:
        """Load the pack that the settings name and prove by a run that it works, and where.

        Raises:
            StartError: `pack_missing` or `pack_damaged`.
        """
        location = ensure_pack(settings.face_pack, settings.robi_data_dir)
        try:
            app, provider = _open_models(location, settings)
        except StartError:
            if location.info.id != OPEN_PACK:
                raise
            log.warning("The open face pack does not work; building it again.")
            discard_open_pack(settings.robi_data_dir)
            location = ensure_pack(settings.face_pack, settings.robi_data_dir)
            app, provider = _open_models(location, settings)
        log.info("Face pack %s runs on %s. Licence: %s", location.info.id, provider, location.info.licence)
        return cls(app, location.info, provider, _degradation(settings, provider))

    def analyze(
        self,
        image: Image,
        *,
        purpose: Purpose = Purpose.VERIFY,
        max_faces: int = 32,
        least_eye_distance: float | None = None,
    ) -> Analysis:
        """All faces of a BGR image, largest first, at most `max_faces` of them.

        `least_eye_distance`, in pixels, is what verifying asks of a face, where it is not the usual.
        """
        started = time.perf_counter()
        boxes, landmarks = self._detect(image, max_faces)
        detected = time.perf_counter()
        crops = _align(image, landmarks)
        vectors = self._embed(crops) if crops else ()
        embedded = time.perf_counter()
        limits = limits_for(self.pack.id, purpose, least_eye_distance)
        faces = tuple(
            _face(image, *found, limits) for found in zip(boxes, landmarks, crops, vectors, strict=True)
        )
        height, width = image.shape[:2]
        return Analysis(faces, width, height, (detected - started) * 1000, (embedded - detected) * 1000)

    def close(self) -> None:
        """Let go of the models. The engine must not be used afterwards."""
        self._app.models.clear()
        self._app.det_model = None

    def _detect(self, image: Image, max_faces: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Boxes with score (n, 5) and landmarks (n, 5, 2), largest box first."""
        height, width = image.shape[:2]
        if max(height, width) > MOST_OBLONG * min(height, width):
            return np.empty((0, 5), np.float32), np.empty((0, 5, 2), np.float32)
        size = DETECTION_SIZE if width >= height else DETECTION_SIZE[::-1]
        detect = self._app.det_model.detect
        boxes, landmarks = detect(image, input_size=size, max_num=max_faces, metric="max")
        if not len(boxes):
            size = CLOSE_UP_SIZE
            boxes, landmarks = detect(image, input_size=size, max_num=max_faces, metric="max")
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        order = np.argsort(-area, kind="stable")
        boxes, landmarks = boxes[order], landmarks[order]
        if self.pack.id == OPEN_PACK:
            landmarks = refine(detect, image, boxes, landmarks, min(size[0] / width, size[1] / height))
        return boxes, landmarks

    def _embed(self, crops: list[Image]) -> NDArray[np.float32]:
        """Embeddings (n, dimension) before normalisation, in one run."""
        vectors: NDArray[np.float32] = self._app.models["recognition"].get_feat(crops)
        return vectors


def _align(image: Image, landmarks: NDArray[np.float32]) -> list[Image]:
    from insightface.utils.face_align import norm_crop

    return [norm_crop(image, points) for points in landmarks]


def _face(
    image: Image,
    row: NDArray[np.float32],
    landmarks: NDArray[np.float32],
    crop: Image,
    vector: NDArray[np.float32],
    limits: Limits,
) -> Face:
    height, width = image.shape[:2]
    box = Box(*(float(value) for value in row[:4]))
    head = head_angles(landmarks)
    norm = float(np.linalg.norm(vector))
    measures = measure(
        crop, box=box, width=width, height=height, head=head, detection=float(row[4]), norm=norm
    )
    return Face(
        box=box,
        landmarks=landmarks.astype(np.float32, copy=False),
        detection_score=float(row[4]),
        embedding=(vector / np.float32(norm or 1.0)).astype(np.float32, copy=False),
        quality=assess(measures, limits),
        yaw=head.yaw,
        pitch=head.pitch,
        roll=head.roll,
    )


# ---------------------------------------------------------------- loading


def _open_models(location: PackLocation, settings: Settings) -> tuple[FaceAnalysis, str]:
    """Load and try the models on the GPU if one is wanted and listed, else or failing that on the CPU."""
    providers = _providers(settings)
    if len(providers) > 1:
        try:
            app = _load(location.path, providers)
            return app, _warm_up(app, location)
        except StartError as problem:
            log.warning("The face models do not run on the GPU: %s", problem.__cause__ or problem)
    app = _load(location.path, [CPU])
    return app, _warm_up(app, location)


def _load(path: Path, providers: Sequence[Any]) -> FaceAnalysis:
    from insightface.app import FaceAnalysis

    # scikit-image warns at every alignment about an API that InsightFace uses.
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*estimate")
    try:
        app = FaceAnalysis(
            name=str(path),
            allowed_modules=["detection", "recognition"],
            providers=list(providers),
            sess_options=_session_options(),
            static_shape_sessions=False,
        )
    except Exception as problem:  # onnxruntime and InsightFace raise whatever comes
        raise StartError(
            "pack_damaged",
            "The face models could not be loaded.",
            "Remove the pack's folder under packs in the data directory and start again.",
        ) from problem
    if "recognition" not in app.models:
        raise StartError("pack_damaged", "The face pack has no recognition model.", "Set FACE_PACK=open.")
    app.prepare(ctx_id=0, det_thresh=DETECTION_THRESHOLD, det_size=DETECTION_SIZE)
    return app


def _session_options() -> Any:
    """Two threads that sleep when idle: spinning ones take the processor from everybody else."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _providers(settings: Settings) -> list[Any]:
    import onnxruntime

    if settings.use_gpu == "false" or CUDA not in onnxruntime.get_available_providers():
        return [CPU]
    # Without TF32 a face gets the same embedding on both kinds of device. Images and batches come in many
    # sizes: an exhaustive search for the best convolution would run again for each.
    options = {
        "device_id": settings.gpu_device_id,
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": 0,
    }
    return [(CUDA, options), CPU]


def _warm_up(app: FaceAnalysis, location: PackLocation) -> str:
    """Run both models once; the provider that really did it."""
    width, height = DETECTION_SIZE
    recognizer = app.models["recognition"]
    try:
        app.det_model.detect(np.zeros((height, width, 3), np.uint8))
        vectors = recognizer.get_feat([np.zeros((112, 112, 3), np.uint8)])
    except Exception as problem:
        raise StartError(
            "pack_damaged", "The face models do not run.", "Set FACE_PACK=open, or USE_GPU=false."
        ) from problem
    if vectors.shape != (1, location.info.dimension) or not np.isfinite(vectors).all():
        raise StartError(
            "pack_damaged",
            f"The face pack does not give {location.info.dimension} numbers per face, as it should.",
            "Install the pack again, or set FACE_PACK=open.",
        )
    active = {model.session.get_providers()[0] for model in (app.det_model, recognizer)}
    return CUDA if active == {CUDA} else CPU


def _degradation(settings: Settings, provider: str) -> str | None:
    if settings.use_gpu == "true" and provider != CUDA:
        return "Faces run on the CPU although USE_GPU=true: no working CUDA device was found."
    return None
