from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.config.settings import Settings
from core.domain.faces import Image, Purpose, Reason
from core.faces.engine import FaceEngine
from core.faces.images import crop
from core.faces.models import FaceModels


def tilted(image: Image, degrees: float) -> Image:
    """Turned about the face of the astronaut; positive is clockwise."""
    matrix = cv2.getRotationMatrix2D((224, 122), -degrees, 1)
    return cv2.warpAffine(image, matrix, image.shape[1::-1])


def test_faces_come_largest_first_and_normalised(engine: FaceEngine, group: Image) -> None:
    analysis = engine.analyze(group)
    areas = [face.box.area for face in analysis.faces]
    assert len(areas) == 6
    assert areas == sorted(areas, reverse=True)
    assert (analysis.width, analysis.height) == (1280, 886)
    for face in analysis.faces:
        assert face.embedding.shape == (128,)
        assert face.embedding.dtype == np.float32
        assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-5)
        assert face.landmarks.shape == (5, 2)


def test_most_faces_keeps_the_largest(engine: FaceEngine, group: Image) -> None:
    everyone = engine.analyze(group).faces
    some = engine.analyze(group, max_faces=2)
    assert [face.box for face in some.faces] == [face.box for face in everyone[:2]]


def test_faces_beyond_the_most_are_counted(engine: FaceEngine, group: Image) -> None:
    assert engine.analyze(group, max_faces=2).faces_left_out == 4
    assert engine.analyze(group).faces_left_out == 0


def test_batch_equals_one_by_one(engine: FaceEngine, models: FaceModels, group: Image) -> None:
    from insightface.utils.face_align import norm_crop

    for face in engine.analyze(group).faces:
        (alone,) = models.embed([norm_crop(group, face.landmarks)])
        np.testing.assert_allclose(face.embedding, alone / np.linalg.norm(alone), atol=1e-5)


def test_different_people_are_apart(
    engine: FaceEngine, group: Image, astronaut: Image, close_up: Image
) -> None:
    faces = [face for image in (group, astronaut, close_up) for face in engine.analyze(image).faces]
    vectors = np.stack([face.embedding for face in faces])
    similarities = vectors @ vectors.T - 2 * np.eye(len(vectors))
    assert len(faces) == 8
    assert similarities.max() < 0.40


@pytest.mark.parametrize("degrees", [-25, -15, 15, 25])
@pytest.mark.parametrize("size", [(640, 640), (320, 320)], ids=["large", "small"])
def test_tilted_head_is_the_same_person(
    engine: FaceEngine, astronaut: Image, degrees: float, size: tuple[int, int]
) -> None:
    upright = engine.analyze(astronaut).faces[0]
    canvas = np.zeros((640, 640, 3), np.uint8)
    canvas[: size[1], : size[0]] = cv2.resize(tilted(astronaut, degrees), size)
    face = engine.analyze(canvas).faces[0]
    assert float(face.embedding @ upright.embedding) > 0.7
    assert 0.5 < (face.roll - upright.roll) / degrees < 1.3


def test_scale_does_not_change_the_person(engine: FaceEngine, group: Image) -> None:
    """Each face of the group cut out and analysed alone stays close to what it was in the group."""
    for face in engine.analyze(group).faces:
        alone = engine.analyze(crop(group, face.box)).faces[0]
        assert float(face.embedding @ alone.embedding) > 0.8


def test_face_that_fills_the_image_is_found(engine: FaceEngine, astronaut: Image) -> None:
    face = engine.analyze(astronaut).faces[0]
    huge = cv2.resize(crop(astronaut, face.box, margin=0.05), (1600, 1600))
    assert len(engine.analyze(huge).faces) == 1


@pytest.mark.parametrize("shape", [(480, 640, 3), (640, 480, 3), (1, 1, 3), (3, 900, 3), (900, 3, 3)])
def test_images_without_a_face(engine: FaceEngine, shape: tuple[int, int, int]) -> None:
    assert engine.analyze(np.full(shape, 127, np.uint8)).faces == ()


def test_enrolling_asks_for_more_than_verifying(engine: FaceEngine, astronaut: Image) -> None:
    far = np.full((960, 1280, 3), 90, np.uint8)
    far[:256, :256] = cv2.resize(astronaut, (256, 256))
    enroll = engine.analyze(far, purpose=Purpose.ENROLL).faces[0]
    verify = engine.analyze(far, purpose=Purpose.VERIFY).faces[0]
    assert Reason.FACE_TOO_SMALL in enroll.quality.rejects
    assert verify.quality.usable


def test_threads_get_what_one_caller_gets(engine: FaceEngine, group: Image, astronaut: Image) -> None:
    images = [group, astronaut] * 6
    expected = [engine.analyze(image) for image in images[:2]] * 6
    with ThreadPoolExecutor(4) as pool:
        for analysis, wanted in zip(pool.map(engine.analyze, images), expected, strict=True):
            assert [face.box for face in analysis.faces] == [face.box for face in wanted.faces]
            for face, other in zip(analysis.faces, wanted.faces, strict=True):
                np.testing.assert_allclose(face.embedding, other.embedding, atol=1e-5)


def test_image_is_left_alone(engine: FaceEngine, astronaut: Image) -> None:
    before = astronaut.copy()
    engine.analyze(astronaut)
    np.testing.assert_array_equal(astronaut, before)


def test_missing_gpu_is_named(engine: FaceEngine, pack_dir: Path) -> None:
    assert engine.degraded is None
    asked = FaceEngine.open(Settings(_env_file=None, robi_data_dir=pack_dir, use_gpu="true"))
    if asked.provider == "CPUExecutionProvider":
        assert "USE_GPU" in str(asked.degraded)
    else:
        assert asked.degraded is None


def test_opening_and_analysing_prints_nothing(pack_dir: Path) -> None:
    script = (
        "import sys; from pathlib import Path; import skimage.data\n"
        "from core.config.settings import Settings; from core.faces.engine import FaceEngine\n"
        f"engine = FaceEngine.open(Settings(_env_file=None, robi_data_dir=Path({str(pack_dir)!r})))\n"
        "image = skimage.data.astronaut()[:, :, ::-1].copy()\n"
        "sys.exit(len(engine.analyze(image).faces) != 1)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_the_engine_leaves_the_heavy_libraries_alone() -> None:
    script = (
        "import sys, core.faces.engine\n"
        "sys.exit(any(name in sys.modules for name in ('insightface', 'onnxruntime', 'onnx', 'skimage')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
