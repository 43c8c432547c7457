"""The face engine on CUDA: it says so only when it is so, and gives the embeddings of the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from core.config.settings import Settings
from core.faces.engine import FaceEngine
from core.faces.models import CPU, CUDA
from tests.conftest import picture

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", autouse=True)
def onnxruntime_for_gpus() -> None:
    if CUDA not in onnxruntime.get_available_providers():
        pytest.skip("The onnxruntime installed here is the one for CPUs.")


def test_cuda_is_proven_and_gives_the_embeddings_of_the_cpu(pack_dir: Path, photos: dict[str, bytes]) -> None:
    engines = {
        wanted: FaceEngine.open(Settings(_env_file=None, robi_data_dir=pack_dir, use_gpu=wanted))
        for wanted in ("true", "false")
    }
    assert engines["true"].provider == CUDA
    assert engines["true"].degraded is None
    assert engines["false"].provider == CPU
    compared = 0
    for data in photos.values():
        on_gpu, on_cpu = (engines[wanted].analyze(picture(data)).faces for wanted in ("true", "false"))
        for ours, theirs in zip(on_gpu, on_cpu, strict=True):
            assert float(np.dot(ours.embedding, theirs.embedding)) > 0.999
            compared += 1
    assert compared == 8
    for engine in engines.values():
        engine.close()


def test_a_gpu_that_is_not_there_is_named(pack_dir: Path) -> None:
    settings = Settings(_env_file=None, robi_data_dir=pack_dir, use_gpu="true", gpu_device_id=77)
    engine = FaceEngine.open(settings)
    assert engine.provider == CPU
    assert "USE_GPU=true" in (engine.degraded or "")
    engine.close()
