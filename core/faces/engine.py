"""Finds the faces of an image and turns each into an embedding, with an unmodified InsightFace."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from core.config.settings import Settings
from core.domain.errors import StartError
from core.domain.faces import Analysis, Box, Face, Image, PackInfo, Purpose, Reason
from core.faces.landmarks import overlaps, refine
from core.faces.pack import OPEN_PACK, PackLocation, discard_open_pack, ensure_pack
from core.faces.pose import head_angles
from core.faces.quality import Limits, assess, limits_for, measure

if TYPE_CHECKING:
    from insightface.app import FaceAnalysis

log = logging.getLogger(__name__)

DETECTION_SIZE = (640, 480)
"""Width and height that an image is fitted into; turned for an upright image."""
CLOSE_UP_SIZE = (160, 160)
"""A face that fills the image is too large for the detector, so an image without any is tried smaller."""
LARGER_SIZES = (2, 4)
"""Times `DETECTION_SIZE`, in which a picture that has so many pixels is looked through as well: a face of 60
pixels among twelve million shrinks to nothing in the first look."""
MOST_ENLARGED = 0.75
"""Scale up to which a picture is looked through in a larger size; above it the look before saw as much."""
FACES_A_RUN = 4
"""Faces that a CPU embeds at once. With more, each takes longer (of 4 it is 7.2 ms, of 6 it is 9.8): blocks
above 32 MB are asked of the kernel, and given back, in every run."""
SAME_FACE = 0.4
"""Intersection over union from which two looks have found one face."""
MOST_OBLONG = 40
"""Ratio of the sides up to which an image is looked at: a longer one shrinks to nothing in the detector."""
DETECTION_THRESHOLD = 0.6

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


class _Look(NamedTuple):
    """What was found in an image as it lies."""

    image: Image
    turns: int
    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    crops: list[Image]
    vectors: NDArray[np.float32]  # before normalisation
    left_out: int  # smaller faces, beyond as many as were asked for
    detect_ms: float
    embed_ms: float

    def found(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], Image, NDArray[np.float32]]]:
        """Box, landmarks, crop and vector of each face."""
        return zip(self.boxes, self.landmarks, self.crops, self.vectors, strict=True)

    def sureness(self, limits: Limits) -> float:
        """How certain it is that the largest face is one, and upright. The detector finds faces that lie on
        their side, too; their embeddings are short: 3 to 7 where upright ones were 11 and more."""
        if not len(self.boxes):
            return 0.0
        return float(np.linalg.norm(self.vectors[0]) if limits.norm[1] else self.boxes[0, 4])

    def is_sure(self, limits: Limits) -> bool:
        return bool(len(self.boxes)) and self.sureness(limits) >= limits.norm[1]


def _spent_together(best: _Look, first: _Look, others: Sequence[_Look]) -> _Look:
    """The best look, with the time that all of them took."""
    looks = (first, *others)
    return best._replace(
        detect_ms=sum(look.detect_ms for look in looks), embed_ms=sum(look.embed_ms for look in looks)
    )


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
        turn: bool = True,
    ) -> Analysis:
        """All faces of a BGR image, largest first, at most `max_faces` of them.

        With `turn` it is looked at from its other sides where no face, or none worth the name, is found.
        `least_eye_distance`, in pixels, is what verifying asks of a face, where it is not the usual.
        """
        limits = limits_for(self.pack.id, purpose, least_eye_distance)
        height, width = image.shape[:2]
        look = self._look(image, max_faces)
        if turn and not look.is_sure(limits):
            others = [self._look(np.rot90(image, turns), max_faces, turns) for turns in (1, 3, 2)]
            look = _spent_together(max([look, *others], key=lambda one: one.sureness(limits)), look, others)
        faces = tuple(_face(look.image, *found, limits) for found in look.found())
        return Analysis(
            tuple(_turned_back(face, look.turns, width, height) for face in faces) if look.turns else faces,
            width,
            height,
            look.detect_ms,
            look.embed_ms,
            look.turns,
            None if faces else float(image[::4, ::4].mean()) / 255,
            look.left_out,
        )

    def close(self) -> None:
        """Let go of the models. The engine must not be used afterwards."""
        self._app.models.clear()
        self._app.det_model = None

    def _detect(self, image: Image, max_faces: int) -> tuple[Found, int]:
        """The faces, largest box first, and how many smaller ones there are."""
        height, width = image.shape[:2]
        if max(height, width) > MOST_OBLONG * min(height, width):
            return (np.empty((0, 5), np.float32), np.empty((0, 5, 2), np.float32)), 0
        size = DETECTION_SIZE if width >= height else DETECTION_SIZE[::-1]
        detect = self._app.det_model.detect
        scale = min(size[0] / width, size[1] / height)
        boxes, landmarks = detect(image, input_size=size)
        for times in LARGER_SIZES:
            if scale * times > MOST_ENLARGED:
                break
            larger = (size[0] * times, size[1] * times)
            boxes, landmarks = _together((boxes, landmarks), detect(image, input_size=larger))
        if not len(boxes):
            size = CLOSE_UP_SIZE
            scale = min(size[0] / width, size[1] / height)
            boxes, landmarks = detect(image, input_size=size)
        found = len(boxes)
        order = np.argsort(-_areas(boxes), kind="stable")[:max_faces]
        boxes, landmarks = boxes[order], landmarks[order]
        if self.pack.id == OPEN_PACK:
            landmarks = refine(detect, image, boxes, landmarks, scale)
        return (boxes, landmarks), found - len(boxes)

    def _look(self, image: Image, max_faces: int, turns: int = 0) -> _Look:
        """Find and embed the faces of an image that was turned anticlockwise by so many quarters."""
        started = time.perf_counter()
        (boxes, landmarks), left_out = self._detect(image, max_faces)
        detected = time.perf_counter()
        crops = _align(image, landmarks)
        vectors = self._embed(crops) if crops else np.empty((0, self.pack.dimension), np.float32)
        embedded = time.perf_counter()
        detect_ms, embed_ms = 1e3 * (detected - started), 1e3 * (embedded - detected)
        return _Look(image, turns, boxes, landmarks, crops, vectors, left_out, detect_ms, embed_ms)

    def _embed(self, crops: list[Image]) -> NDArray[np.float32]:
        """Embeddings (n, dimension) before normalisation; a GPU makes them in one run."""
        each = len(crops) if self.provider == CUDA else FACES_A_RUN
        get = self._app.models["recognition"].get_feat
        return np.concatenate([get(crops[n : n + each]) for n in range(0, len(crops), each)])


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), np.float32)


Found = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Boxes with score (n, 5) and landmarks (n, 5, 2)."""


def _together(one: Found, other: Found) -> Found:
    """What two looks found, each face once: as the look saw it that was surer of it."""
    boxes, landmarks = np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])
    kept: list[int] = []
    for number in np.argsort(-boxes[:, 4], kind="stable").tolist():
        if not kept or float(overlaps(boxes[number, :4], boxes[kept, :4]).max()) < SAME_FACE:
            kept.append(number)
    return boxes[kept], landmarks[kept]


def _turned_back(face: Face, turns: int, width: int, height: int) -> Face:
    """The face where it is in the picture as it came, which was turned anticlockwise to find it."""
    box = face.box
    corners = _points_back(np.array([[box.x1, box.y1], [box.x2, box.y2]], np.float32), turns, width, height)
    (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    warnings = (*face.quality.warnings, Reason.ON_ITS_SIDE)
    return replace(
        face,
        box=Box(x1, y1, x2, y2),
        landmarks=_points_back(face.landmarks, turns, width, height),
        quality=replace(face.quality, warnings=warnings),
    )


def _points_back(points: NDArray[np.float32], turns: int, width: int, height: int) -> NDArray[np.float32]:
    x, y = points[:, 0], points[:, 1]
    back = {1: (width - y, x), 2: (width - x, height - y), 3: (y, height - x)}[turns]
    return np.stack(back, axis=1).astype(np.float32, copy=False)


def _align(image: Image, landmarks: NDArray[np.float32]) -> list[Image]:
    from insightface.utils.face_align import norm_crop

    return [norm_crop(image, points) for points in landmarks]


def _within(landmarks: NDArray[np.float32], width: int, height: int) -> NDArray[np.bool_]:
    """Which pixels of the aligned crop show a place within the picture."""
    from insightface.utils.face_align import estimate_norm

    back = cv2.invertAffineTransform(estimate_norm(landmarks))
    rows, columns = np.indices((112, 112))
    x, y = (a * columns + b * rows + c for a, b, c in back)
    return np.asarray((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))


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
        crop,
        partial(_within, landmarks, width, height),
        box=box,
        width=width,
        height=height,
        head=head,
        detection=float(row[4]),
        norm=norm,
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
    """Two threads that sleep when idle: spinning ones take the processor from everybody else. No arena: it
    kept 280 MB for good after one picture of forty megapixels, and was no faster."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
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
