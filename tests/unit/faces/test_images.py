from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from core.domain.errors import RobiError, TooLarge, UnsupportedImage, Unusable
from core.domain.faces import Box, Image
from core.faces.images import crop, decode, encode_jpeg, thumbnail

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as core.faces.images has it

LIMITS = {"max_bytes": 10_000_000, "max_pixels": 1_000_000}


def encoded(picture: PIL.Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def two_tone(mode: str = "RGB") -> PIL.Image.Image:
    """Left half red, right half blue, 40×20."""
    picture = PIL.Image.new("RGB", (40, 20), (255, 0, 0))
    picture.paste((0, 0, 255), (20, 0, 40, 20))
    return picture.convert(mode)


def about(image: Image, x: int, y: int, bgr: tuple[int, int, int], tolerance: int = 12) -> bool:
    return bool(np.all(np.abs(image[y, x].astype(int) - bgr) <= tolerance))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("JPEG", {"progressive": True, "quality": 95}),
    ],
    ids=["jpeg", "png", "webp", "bmp", "progressive"],
)
def test_accepted_formats_come_out_as_bgr(kind: str, options: dict[str, object]) -> None:
    image = decode(encoded(two_tone(), kind, **options), **LIMITS)
    assert image.shape == (20, 40, 3)
    assert image.dtype == np.uint8
    assert about(image, 5, 10, (0, 0, 255))
    assert about(image, 35, 10, (255, 0, 0))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize(
    ("orientation", "red_at"), [(1, (5, 10)), (3, (35, 10)), (6, (10, 5)), (8, (10, 35))]
)
def test_exif_orientation_is_applied(kind: str, orientation: int, red_at: tuple[int, int]) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    image = decode(encoded(two_tone(), kind, exif=exif.tobytes(), quality=95), **LIMITS)
    assert about(image, *red_at, (0, 0, 255), tolerance=40)


def test_unreadable_exif_does_not_cost_the_photo() -> None:
    data = encoded(two_tone(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert decode(data, **LIMITS).shape == (20, 40, 3)


def test_transparency_becomes_white() -> None:
    picture = PIL.Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    assert about(decode(encoded(picture, "PNG"), **LIMITS), 5, 5, (255, 255, 255), 0)


def test_palette_with_transparency_becomes_white() -> None:
    picture = PIL.Image.new("P", (10, 10), 0)
    picture.putpalette([0, 0, 0, 255, 255, 255])
    assert about(decode(encoded(picture, "PNG", transparency=0), **LIMITS), 5, 5, (255, 255, 255), 0)


def test_sixteen_bit_gray_is_scaled_not_clipped() -> None:
    picture = PIL.Image.fromarray(np.full((10, 10), 128 * 257, np.uint16))
    assert about(decode(encoded(picture, "PNG"), **LIMITS), 5, 5, (128, 128, 128), 1)


@pytest.mark.parametrize(("mode", "kind"), [("L", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("LA", "PNG")])
def test_gray_has_three_channels(mode: str, kind: str) -> None:
    image = decode(encoded(PIL.Image.new(mode, (10, 10)), kind), **LIMITS)
    assert image.shape == (10, 10, 3)


def test_cmyk_keeps_its_colours() -> None:
    image = decode(encoded(two_tone("CMYK"), "JPEG", quality=95), **LIMITS)
    assert about(image, 5, 10, (0, 0, 255))
    assert about(image, 35, 10, (255, 0, 0))


def test_first_picture_of_an_animation_counts() -> None:
    other = PIL.Image.new("RGB", (40, 20), (0, 255, 0))
    data = encoded(two_tone(), "WEBP", save_all=True, append_images=[other], lossless=True)
    assert about(decode(data, **LIMITS), 5, 10, (0, 0, 255))


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(TooLarge) as caught:
        decode(b"x" * 101, max_bytes=100, max_pixels=100)
    assert caught.value.code == "image_too_large"


def test_pixels_are_counted_before_they_are_decoded() -> None:
    """The header claims 30000×30000; the pixel data is missing, so decoding it first would fail otherwise."""
    data = bytearray(encoded(two_tone(), "BMP"))
    data[18:26] = (30_000).to_bytes(4, "little") * 2
    with pytest.raises(TooLarge) as caught:
        decode(bytes(data), **LIMITS)
    assert caught.value.code == "image_too_large"


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"GIF89a" + bytes(20), "GIF"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(20), "HEIC"),
        (b"\x00\x00\x00\x18ftypavif" + bytes(20), "AVIF"),
        (b"\x00\x00\x00\x18ftypisom" + bytes(20), "Video"),
        (b"II*\x00" + bytes(20), "TIFF"),
        (b"%PDF-1.7\n", "PDF"),
        (b"PK\x03\x04" + bytes(20), "ZIP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "Text"),
        ("Grüße ".encode() * 100, "Text"),
    ],
    ids=["gif", "heic", "avif", "video", "tiff", "pdf", "zip", "svg", "long text"],
)
def test_foreign_formats_are_named(data: bytes, named: str) -> None:
    with pytest.raises(UnsupportedImage) as caught:
        decode(data, **LIMITS)
    assert caught.value.code == "unsupported_image"
    assert named in caught.value.message
    assert caught.value.hint == "Save it as JPEG or PNG."


@pytest.mark.parametrize("data", [b"", bytes(100), b"\xfe\xed\xfa\xce" * 9], ids=["empty", "zeros", "binary"])
def test_anything_else_is_not_an_image(data: bytes) -> None:
    with pytest.raises(Unusable) as caught:
        decode(data, **LIMITS)
    assert caught.value.code == "not_an_image"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_incomplete_files_say_so(kind: str, kept: float, astronaut: Image) -> None:
    picture = PIL.Image.fromarray(astronaut)
    data = encoded(picture, kind)
    with pytest.raises(Unusable) as caught:
        decode(data[: int(len(data) * kept)], **LIMITS)
    assert caught.value.code == "image_truncated"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_damaged_files_give_an_image_or_a_known_error(kind: str) -> None:
    """Bytes overturned at random: nothing but an image or an error of ours may come out."""
    seed = 7
    random = np.random.default_rng(seed)
    whole = np.frombuffer(encoded(two_tone(), kind), np.uint8)
    outcomes = set()
    for _ in range(300):
        data = whole.copy()
        data[random.integers(0, len(data), 4)] = random.integers(0, 256, 4)
        try:
            outcomes.add(decode(data.tobytes(), **LIMITS).shape[2])
        except RobiError as problem:
            outcomes.add(problem.code)
    assert outcomes & {"image_truncated"}, f"seed {seed}: {outcomes}"


def test_jpeg_round_trip(astronaut: Image) -> None:
    back = decode(encode_jpeg(astronaut, quality=95), **LIMITS)
    assert np.abs(back.astype(int) - astronaut).mean() < 4


@pytest.mark.parametrize(
    "box",
    [Box(100, 100, 150, 180), Box(-20, -30, 60, 50), Box(480, 490, 560, 570), Box(-50, -50, 700, 700)],
    ids=["inside", "top left", "bottom right", "larger than the image"],
)
def test_thumbnail_is_square_and_not_stretched(box: Box, astronaut: Image) -> None:
    cut = crop(astronaut, box)
    assert cut.shape[0] == cut.shape[1]
    small = cv2.imdecode(np.frombuffer(thumbnail(astronaut, box, size=96), np.uint8), cv2.IMREAD_COLOR)
    assert small.shape == (96, 96, 3)


def test_photo_files_that_dependencies_ship_decode(group: Image) -> None:
    import insightface

    file = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"
    image = decode(file.read_bytes(), max_bytes=10_000_000, max_pixels=2_000_000)
    assert np.abs(image.astype(int) - group).mean() < 2
