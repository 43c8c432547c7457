"""Pictures that are large, turned, dark, damaged, or made to be hard: what is there is found, or said."""

from __future__ import annotations

import io
import struct
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest

from core.domain.errors import Busy, Unusable
from core.domain.faces import Image, Purpose, Reason
from core.faces import images
from core.faces.engine import FaceEngine
from core.faces.images import decode
from core.faces.quality import judge_photo
from core.runtime.budget import PIXELS, Budget
from tests.conftest import jpeg

LIMITS = {"max_bytes": 20_000_000, "max_pixels": 40_000_000}


def encoded(image: Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(image[:, :, ::-1]).save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes, *, damaged: bool = False) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ damaged)


@pytest.fixture(scope="module")
def head(astronaut: Image) -> Image:
    """250×250, a face of 86 pixels in its middle."""
    return np.ascontiguousarray(astronaut[20:270, 100:350])


# ---------------------------------------------------------------- small among many pixels


@pytest.mark.parametrize(("width", "height", "face"), [(4000, 3000, 60), (6000, 4000, 100)])
def test_a_small_face_in_a_large_picture_is_found_and_is_the_same_person(
    engine: FaceEngine, head: Image, width: int, height: int, face: int
) -> None:
    side = round(250 * face / 86)
    image = np.full((height, width, 3), 125, np.uint8)
    image[height // 2 :, width // 2 :][:side, :side] = cv2.resize(
        head, (side, side), interpolation=cv2.INTER_AREA
    )
    (found,) = engine.analyze(image).faces
    (known,) = engine.analyze(head).faces
    assert float(found.embedding @ known.embedding) > 0.8


def test_every_face_of_a_panorama_is_found_once(engine: FaceEngine, head: Image) -> None:
    image = np.full((2000, 18_000, 3), 125, np.uint8)
    for x in (1500, 9000, 16_000):
        image[700:1300, x : x + 600] = cv2.resize(head, (600, 600))
    assert len(engine.analyze(image).faces) == 3


def test_a_large_face_in_a_large_picture_is_found_once(engine: FaceEngine, head: Image) -> None:
    assert len(engine.analyze(cv2.resize(head, (3500, 3500))).faces) == 1


# ---------------------------------------------------------------- turned, dark


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_photo_on_its_side_is_turned_and_says_so(engine: FaceEngine, head: Image, turns: int) -> None:
    lying = np.ascontiguousarray(np.rot90(head, -turns))
    analysis = engine.analyze(lying, purpose=Purpose.ENROLL)
    upright = engine.analyze(head, purpose=Purpose.ENROLL).faces[0]
    assert analysis.quarter_turns == turns
    (face,) = analysis.faces
    assert float(face.embedding @ upright.embedding) > 0.99
    assert Reason.ON_ITS_SIDE in face.quality.warnings
    assert face.quality.usable
    x, y = face.landmarks[2].round().astype(int)
    assert 0 < x < lying.shape[1]
    back = np.rot90(lying, turns)
    nose = upright.landmarks[2].round().astype(int)
    assert np.abs(lying[y, x].astype(int) - back[nose[1], nose[0]]).max() < 60
    assert face.box.width == pytest.approx(upright.box.height if turns % 2 else upright.box.width, abs=3)


def test_a_live_frame_is_not_turned(engine: FaceEngine, head: Image) -> None:
    analysis = engine.analyze(np.ascontiguousarray(np.rot90(head)), turn=False)
    assert analysis.quarter_turns == 0
    assert not any(face.quality.usable for face in analysis.faces)


@pytest.mark.parametrize(("value", "reason"), [(3, "too_dark"), (253, "too_bright"), (120, "no_face")])
def test_light_is_judged_before_nobody_is_there(service, value: int, reason: str) -> None:
    data = jpeg(np.full((480, 640, 3), value, np.uint8))
    assert [r.value for r in service.pictures.inspect("a", data).rejects] == [reason]
    with pytest.raises(Unusable) as problem:
        service.recognition.verify(data)
    assert problem.value.code == reason


# ---------------------------------------------------------------- damaged


def test_what_does_not_concern_pixels_does_not_matter(head: Image) -> None:
    whole_jpeg, whole_png = encoded(head, "JPEG", quality=90), encoded(head, "PNG")
    start, rest = whole_png[:33], whole_png[33:]
    text = b"XML:com.adobe.xmp\0\0" + zlib.compress(b"a" * 2_000_000)
    for data in (
        whole_jpeg[:-2],
        whole_jpeg[:-1],
        whole_jpeg + b"appended",
        start + chunk(b"tEXt", b"Comment\0hello", damaged=True) + rest,
        start + chunk(b"gAMA", struct.pack(">I", 45455), damaged=True) + rest,
        start + chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(30_000_000))) + rest,
        whole_png[:-12] + chunk(b"zTXt", text) + whole_png[-12:],
        whole_png[:-12],
    ):
        assert np.abs(decode(data, **LIMITS).astype(int) - head).mean() < 3


def test_a_picture_that_ends_in_the_face_is_refused_or_its_face_is(engine: FaceEngine, head: Image) -> None:
    cut = encoded(head, "JPEG", quality=90)
    half = cut[: len(cut) // 2]
    with pytest.raises(Unusable):
        decode(half, **LIMITS)
    rows = b"".join(b"\0" + row[:, ::-1].tobytes() for row in head[:90])
    header = struct.pack(">IIBBBBB", 250, 250, 8, 2, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    for data in (half + b"\xff\xd9", png):
        try:
            image = decode(data, **LIMITS)
        except Unusable:
            continue
        verdict = judge_photo("a", engine.analyze(image, purpose=Purpose.ENROLL))
        assert verdict.face is None, verdict


def test_a_grey_hole_in_the_face_is_seen(engine: FaceEngine, astronaut: Image) -> None:
    face = engine.analyze(astronaut, purpose=Purpose.ENROLL).faces[0]
    assert Reason.DAMAGED not in face.quality.rejects
    holed = astronaut.copy()
    x, y = int(face.box.x1), int(face.box.y1 + 0.5 * face.box.height)
    holed[y : y + int(face.box.height * 0.3), x : int(face.box.x2)] = 128
    found = engine.analyze(holed, purpose=Purpose.ENROLL).faces
    assert not found or Reason.DAMAGED in found[0].quality.rejects


@pytest.mark.parametrize("share", [0.05, 0.15, 0.25, 0.4])
@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_a_face_that_the_edge_cuts_off_is_not_damaged(
    engine: FaceEngine, astronaut: Image, side: str, share: float
) -> None:
    box = engine.analyze(astronaut).faces[0].box
    x, y = int(share * box.width), int(share * box.height)
    at = {
        "left": np.s_[:, int(box.x1) + x :],
        "right": np.s_[:, : int(box.x2) - x],
        "top": np.s_[int(box.y1) + y :],
        "bottom": np.s_[: int(box.y2) - y],
    }
    faces = engine.analyze(np.ascontiguousarray(astronaut[at[side]]), purpose=Purpose.ENROLL).faces
    assert faces or share > 0.3
    assert not any(Reason.DAMAGED in face.quality.rejects for face in faces)


@pytest.mark.parametrize("quality", [8, 30, 95])
def test_compression_is_no_damage(engine: FaceEngine, astronaut: Image, quality: int) -> None:
    image = decode(jpeg(astronaut, quality), **LIMITS)
    assert Reason.DAMAGED not in engine.analyze(image, purpose=Purpose.ENROLL).faces[0].quality.rejects


# ---------------------------------------------------------------- made to be hard


def scan_bomb(scans: int, side: int = 1000) -> bytes:
    """A small progressive JPEG whose last scan comes again and again."""
    data = encoded(np.zeros((side, side, 3), np.uint8), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + b"\xff\xd9"


def test_scans_are_counted_before_any_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoding(*_: object, **__: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", decoding)
    with pytest.raises(Unusable) as problem:
        decode(scan_bomb(5_000), **LIMITS)
    assert problem.value.code == "image_too_complex"


def test_an_ordinary_progressive_picture_is_decoded(head: Image) -> None:
    assert (
        decode(encoded(cv2.resize(head, (4000, 3000)), "JPEG", progressive=True), **LIMITS).shape[0] == 3000
    )


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"progressive": True}), ("PNG", {}), ("BMP", {})])
def test_a_deadline_ends_the_work(
    head: Image, monkeypatch: pytest.MonkeyPatch, kind: str, options: dict[str, object]
) -> None:
    """The clock jumps past it after the third piece; without the deadline all pieces would be read."""
    reads = []

    def clock() -> float:
        reads.append(1)
        return 0.0 if len(reads) < 12 else 1e9

    noise = np.random.default_rng(1).integers(0, 255, (900, 900, 3), np.uint8)
    data = encoded(noise, kind, **options)
    monkeypatch.setattr(images, "time", SimpleNamespace(monotonic=clock))  # not the clock of other threads
    with pytest.raises(Unusable) as problem:
        decode(data, **LIMITS)
    assert problem.value.code == "image_too_complex"
    assert len(reads) == 12


# ---------------------------------------------------------------- memory


def test_pictures_that_do_not_fit_together_are_refused_not_queued(head: Image) -> None:
    data = encoded(head, "PNG")
    with PIXELS.held(PIXELS.most), pytest.raises(Busy) as problem:
        decode(data, **LIMITS)
    assert problem.value.code == "busy"
    assert decode(data, **LIMITS).shape == head.shape
    assert PIXELS.taken == 0


def test_a_refused_picture_gives_its_share_back() -> None:
    with pytest.raises(Unusable):
        decode(encoded(np.zeros((90, 90, 3), np.uint8), "BMP")[:500], **LIMITS)
    assert PIXELS.taken == 0


def test_who_is_alone_may_take_more_than_there_is() -> None:
    budget = Budget(10)
    with budget.held(50), pytest.raises(Busy):
        budget.take(1)
    assert budget.taken == 0
