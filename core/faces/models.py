"""Opens the models of a face pack with an unmodified InsightFace, and proves by a run where they work."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.config.settings import Settings
from core.domain.errors import StartError
from core.domain.faces import Image, PackInfo
from core.faces.detection import DETECTION_SIZE
from core.faces.landmarks import Found
from core.faces.pack import OPEN_PACK, PackLocation, discard_open_pack, ensure_pack

if TYPE_CHECKING:
    from insightface.app import FaceAnalysis

log = logging.getLogger(__name__)

DETECTION_THRESHOLD = 0.6
FACES_A_RUN = 4
"""Faces that a CPU embeds at once. With more, each takes longer (of 4 it is 7.2 ms, of 6 it is 9.8): blocks
above 32 MB are asked of the kernel, and given back, in every run."""

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


@dataclass(frozen=True, slots=True)
class FaceModels:
    """The two models of a pack, loaded and tried. Safe to use from several threads at once."""

    app: FaceAnalysis
    pack: PackInfo
    provider: str  # `CPU` or `CUDA`: where both really run

    def detect(self, image: Image, input_size: tuple[int, int]) -> Found:
        """The faces of a BGR image that was fitted into `input_size`, width and height; in no order."""
        found: Found = self.app.det_model.detect(image, input_size=input_size)
        return found

    def embed(self, crops: Sequence[Image]) -> NDArray[np.float32]:
        """Embeddings (n, dimension) of aligned faces, before normalisation; a GPU makes them in one run."""
        if not crops:
            return np.empty((0, self.pack.dimension), np.float32)
        each = len(crops) if self.provider == CUDA else FACES_A_RUN
        get = self.app.models["recognition"].get_feat
        return np.concatenate([get(list(crops[n : n + each])) for n in range(0, len(crops), each)])

    def close(self) -> None:
        """Let go of the models' memory. They must not be used afterwards."""
        self.app.models.clear()
        self.app.det_model = None


def open_models(settings: Settings) -> FaceModels:
    """Load the pack that the settings name, on the GPU if one is wanted and works, and try it.

    Raises:
        StartError: `pack_missing` or `pack_damaged`.
    """
    location = ensure_pack(settings.face_pack, settings.robi_data_dir)
    try:
        return _open(location, settings)
    except StartError:
        if location.info.id != OPEN_PACK:
            raise
        log.warning("The open face pack does not work; building it again.")
        discard_open_pack(settings.robi_data_dir)
        return _open(ensure_pack(settings.face_pack, settings.robi_data_dir), settings)


def _open(location: PackLocation, settings: Settings) -> FaceModels:
    """On the GPU if one is wanted and listed, else or failing that on the CPU."""
    providers = _providers(settings)
    if len(providers) > 1:
        try:
            return _tried(_load(location.path, providers), location.info)
        except StartError as problem:
            log.warning("The face models do not run on the GPU: %s", problem.__cause__ or problem)
    return _tried(_load(location.path, [CPU]), location.info)


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


def _tried(app: FaceAnalysis, pack: PackInfo) -> FaceModels:
    """Run both models once, to know that they work and where."""
    width, height = DETECTION_SIZE
    recognizer = app.models["recognition"]
    try:
        app.det_model.detect(np.zeros((height, width, 3), np.uint8))
        vectors = recognizer.get_feat([np.zeros((112, 112, 3), np.uint8)])
    except Exception as problem:
        raise StartError(
            "pack_damaged", "The face models do not run.", "Set FACE_PACK=open, or USE_GPU=false."
        ) from problem
    if vectors.shape != (1, pack.dimension) or not np.isfinite(vectors).all():
        raise StartError(
            "pack_damaged",
            f"The face pack does not give {pack.dimension} numbers per face, as it should.",
            "Install the pack again, or set FACE_PACK=open.",
        )
    active = {model.session.get_providers()[0] for model in (app.det_model, recognizer)}
    return FaceModels(app, pack, CUDA if active == {CUDA} else CPU)
