"""Turns the bytes of a picture into pixels and back, without trusting the bytes."""

from __future__ import annotations

import codecs
import io
import struct
import warnings
import zlib

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps

from core.errors import RobiError, TooLarge, UnsupportedImage, Unusable
from core.types import Box, Image

# `decode` checks the pixel count itself, against a configured limit and before any pixel is decoded.
PIL.Image.MAX_IMAGE_PIXELS = None
# Pillow warns about metadata that it cannot read; the pixels may be good all the same.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

ACCEPTED = ("JPEG", "PNG", "WEBP", "BMP")
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    KeyError,
    IndexError,
    TypeError,
)
"""What Pillow raises on damaged files, all of it seen by feeding it such files."""

_ACCEPTED_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM")
_REFUSED_STARTS = {
    b"GIF8": "GIF",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"%PDF": "PDF",
    b"8BPS": "Photoshop",
    b"\x00\x00\x01\x00": "icon",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"PK\x03\x04": "ZIP",
    b"\x1a\x45\xdf\xa3": "video",
}
_HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"}
_THUMBNAIL_MARGIN = 0.35


def decode(data: bytes, *, max_bytes: int, max_pixels: int) -> Image:
    """Decode a JPEG, PNG, WebP or BMP as it is meant to be seen: upright, 8 bit, opaque (on white).

    Of an animation the first picture counts. Both limits are checked before any pixel is decoded.

    Raises:
        TooLarge: `image_too_large`, by bytes or by pixels.
        UnsupportedImage: `unsupported_image`, a format that is recognised and not accepted.
        Unusable: `not_an_image`, or `image_truncated` when an accepted format is damaged or incomplete.
    """
    if len(data) > max_bytes:
        raise TooLarge(
            "image_too_large",
            f"The image file is larger than {_count(max_bytes, 'MB')}.",
            "Save it smaller, for example as JPEG.",
        )
    if not _is_accepted(data):
        raise _refusal(data)
    try:
        with PIL.Image.open(io.BytesIO(data), formats=ACCEPTED) as picture:
            if picture.width * picture.height > max_pixels:
                raise TooLarge(
                    "image_too_large",
                    f"The image has more than {_count(max_pixels, 'megapixels')}.",
                    "Save it at a smaller size.",
                )
            picture.load()
            return _to_bgr(_upright(picture))
    except _BROKEN as problem:
        raise Unusable(
            "image_truncated", "The image file is damaged or incomplete.", "Send the original file again."
        ) from problem


def encode_jpeg(image: Image, quality: int = 90) -> bytes:
    """The image as a JPEG of the given quality (1-100)."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def thumbnail(image: Image, box: Box, size: int = 160) -> bytes:
    """A square JPEG of `size` pixels around the face, with a margin, never stretched."""
    small = cv2.resize(crop(image, box), (size, size), interpolation=cv2.INTER_AREA)
    return encode_jpeg(small.astype(np.uint8, copy=False), 85)


def crop(image: Image, box: Box, margin: float = _THUMBNAIL_MARGIN) -> Image:
    """The square around `box`, `margin` times its longer side wider on every side.

    It is moved, then shrunk, to stay inside the image.
    """
    height, width = image.shape[:2]
    side = max(1, min(round(max(box.width, box.height) * (1 + 2 * margin)), height, width))
    left = min(max(round((box.x1 + box.x2 - side) / 2), 0), width - side)
    top = min(max(round((box.y1 + box.y2 - side) / 2), 0), height - side)
    return image[top : top + side, left : left + side]


def _is_accepted(data: bytes) -> bool:
    return data.startswith(_ACCEPTED_STARTS) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def _refusal(data: bytes) -> RobiError:
    name = _foreign_format(data)
    if name is None:
        return Unusable("not_an_image", "The file is not an image.", "Choose a JPEG or PNG photo.")
    return UnsupportedImage("unsupported_image", f"{name} files are not accepted.", "Save it as JPEG or PNG.")


def _foreign_format(data: bytes) -> str | None:
    for start, name in _REFUSED_STARTS.items():
        if data.startswith(start):
            return name
    if data[4:8] == b"ftyp":
        return _container_format(data[8:12])
    return "Text" if data and _is_text(data[:512]) else None


def _container_format(brand: bytes) -> str:
    if brand in _HEIC_BRANDS:
        return "HEIC"
    return "AVIF" if brand in {b"avif", b"avis"} else "Video"


def _is_text(start: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)  # may end within a character
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\t\r\n\f\ufeff" for character in text)


def _upright(picture: PIL.Image.Image) -> PIL.Image.Image:
    try:
        PIL.ImageOps.exif_transpose(picture, in_place=True)
    except _BROKEN:  # unreadable EXIF: the pixels are still good
        return picture
    return picture


def _to_bgr(picture: PIL.Image.Image) -> Image:
    if picture.mode.startswith("I"):  # 16 bit; Pillow's own conversion would clip instead of scale
        gray = (np.asarray(picture, np.float32) / 257).clip(0, 255).astype(np.uint8)
        return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    if picture.has_transparency_data:
        overlay = picture.convert("RGBA")
        picture = PIL.Image.new("RGBA", overlay.size, "white")
        picture.alpha_composite(overlay)
    pixels = np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)


def _count(limit: int, unit: str) -> str:
    return f"{limit / 1_000_000:g} {unit}"
