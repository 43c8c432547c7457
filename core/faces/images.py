"""Turns the bytes of a picture into pixels and back, without trusting the bytes."""

from __future__ import annotations

import codecs
import io
import struct
import time
import warnings
import zlib

import cv2
import numpy as np
import PIL.Image

from core.domain.errors import RobiError, TooLarge, UnsupportedImage, Unusable
from core.domain.faces import Box, Image
from core.runtime.budget import PIXELS, give_memory_back

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
# Libraries that guess formats know fewer: no HEIC of "mif1", no BigTIFF; and a ZIP is a Word file to them.
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

MOST_SCANS = 100
"""Of a progressive JPEG; cameras and editors write about ten. Each goes through the whole picture again."""
MOST_SCANNED_PIXELS = 1_000_000_000
"""Pixels times scans: forty megapixels in twenty-five."""
DECODE_S = 10.0
"""Seconds after which decoding is given up, between two pieces of the file."""
_PIECE = 8 * 1024  # bytes that the decoder gets at a time
ENOUGH_ROWS = 0.95
"""Share of an incomplete picture's rows that must be there."""
_TOP_DOWN = ("JPEG", "PNG")
_ABOUT_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"})
_ORIENTATION = 0x0112  # of EXIF
_STRIP = 256  # rows of a transparent picture that are laid on white at a time
_LARGE = 8_000_000  # pixels from which memory is handed back to the system at once


def decode(data: bytes, *, max_bytes: int, max_pixels: int) -> Image:
    """Decode a JPEG, PNG, WebP or BMP as it is meant to be seen: upright, 8 bit, opaque (on white).

    Of an animation the first picture counts. Both limits are checked before any pixel is decoded. What a
    file says besides its pixels does not matter, nor whether its last bytes are there.

    Raises:
        Busy: `busy`, when as many pixels as fit into memory are being decoded.
        TooLarge: `image_too_large`, by bytes or by pixels.
        UnsupportedImage: `unsupported_image`, a format that is recognised and not accepted.
        Unusable: `not_an_image`, `image_truncated` when an accepted format is damaged or incomplete, or
            `image_too_complex` when decoding it would take too long.
    """
    if len(data) > max_bytes:
        raise TooLarge(
            "image_too_large",
            f"The image file is larger than {_count(max_bytes, 'MB')}.",
            "Save it smaller, for example as JPEG.",
        )
    if not _is_accepted(data):
        raise _refusal(data)
    data, complete = _essential(data)
    try:
        with PIL.Image.open(_Timed(data), formats=ACCEPTED) as picture:
            pixels = picture.width * picture.height
            if pixels > max_pixels:
                raise TooLarge(
                    "image_too_large",
                    f"The image has more than {_count(max_pixels, 'megapixels')}.",
                    "Save it at a smaller size.",
                )
            _check_scans(data, pixels)
            with PIXELS.held(pixels):
                image = _decoded(picture, complete=complete)
    except _OutOfTimeError:
        raise _too_complex() from None
    except _BROKEN as problem:
        raise _truncated() from problem
    if pixels >= _LARGE:
        give_memory_back()
    return image


class _OutOfTimeError(Exception):
    """No OSError: Pillow would take that for the end of the file."""


class _Timed(io.BytesIO):
    """A file that a decoder can read until its time is up. Nothing else ends a decoder on its way."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._until = time.monotonic() + DECODE_S

    def read(self, size: int | None = -1, /) -> bytes:
        if time.monotonic() > self._until:
            raise _OutOfTimeError
        return super().read(size)


def _decoded(picture: PIL.Image.Image, *, complete: bool) -> Image:
    picture.decodermaxblock = _PIECE  # type: ignore[attr-defined]  # of files, which this one is
    try:
        picture.load()
    except OSError:
        if picture.format not in _TOP_DOWN or picture.info.get("interlace"):
            raise  # which part is there cannot be told
        picture.tile = []  # type: ignore[attr-defined]  # what is there is there
        complete = False
    image = _to_bgr(picture)
    if not complete and _rows_there(image) < ENOUGH_ROWS * len(image):
        raise _truncated()
    return _upright(image, picture)


def _rows_there(image: Image) -> int:
    """Rows up to the last that shows something: a decoder fills what it could not read with one colour."""
    for row in range(len(image) - 1, -1, -1):
        if int(np.ptp(image[row], axis=0).max()) > 2:
            return row + 1
    return 0


def _check_scans(data: bytes, pixels: int) -> None:
    if data.startswith(b"\xff\xd8"):
        scans = data.count(b"\xff\xda")  # what is compressed never has these bytes
        if scans > MOST_SCANS or scans * pixels > MOST_SCANNED_PIXELS:
            raise _too_complex()


def _essential(data: bytes) -> tuple[bytes, bool]:
    """The file without what does not concern its pixels, with its end; and whether the end was there."""
    if data.startswith(b"\x89PNG"):
        return _png_of_pixels(data), True
    if data.startswith(b"\xff\xd8") and not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        return data.removesuffix(b"\xff") + b"\xff\xd9", False
    return data, True


def _png_of_pixels(data: bytes) -> bytes:
    """Comments, profiles, further pictures may be damaged, or huge once unpacked: nobody asks for them."""
    kept, place = [data[:8]], 8
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        if kind in _ABOUT_PIXELS and (size or kind == b"IEND"):
            kept.append(data[place : place + size + 12])
        place += size + 12
    return b"".join(kept)


def _truncated() -> Unusable:
    return Unusable(
        "image_truncated", "The image file is damaged or incomplete.", "Send the original file again."
    )


def _too_complex() -> Unusable:
    return Unusable(
        "image_too_complex",
        "Decoding the image would take too long.",
        "Save it again as a plain JPEG or PNG.",
    )


def encode_jpeg(image: Image, quality: int = 90) -> bytes:
    """The image as a JPEG of the given quality (1-100)."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def thumbnail(image: Image, box: Box, size: int = 160, *, quarter_turns: int = 0) -> bytes:
    """A square JPEG of `size` pixels around the face, with a margin, turned anticlockwise; not stretched."""
    small = cv2.resize(crop(image, box), (size, size), interpolation=cv2.INTER_AREA)
    return encode_jpeg(np.rot90(small, quarter_turns).astype(np.uint8), 85)


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


_TURNS = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: image.transpose(1, 0, 2)[:, ::-1],
    7: lambda image: image.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda image: image.transpose(1, 0, 2)[::-1],
}
"""By EXIF's orientation, what shows the picture as it was seen."""


def _upright(image: Image, picture: PIL.Image.Image) -> Image:
    try:
        orientation = picture.getexif().get(_ORIENTATION)
    except _BROKEN:  # unreadable EXIF: the pixels are still good
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else np.ascontiguousarray(turn(image))


def _to_bgr(picture: PIL.Image.Image) -> Image:
    if picture.mode.startswith("I"):  # 16 bit; Pillow's own conversion would clip instead of scale
        gray = (np.asarray(picture, np.float32) / 257).clip(0, 255).astype(np.uint8)
        return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    if picture.has_transparency_data:
        return _on_white(picture)
    pixels = np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)


def _on_white(picture: PIL.Image.Image) -> Image:
    """A strip at a time: whole copies would take five times the picture's memory."""
    image = np.empty((picture.height, picture.width, 3), np.uint8)
    for top in range(0, picture.height, _STRIP):
        bottom = min(top + _STRIP, picture.height)
        overlay = picture.crop((0, top, picture.width, bottom)).convert("RGBA")
        strip = PIL.Image.new("RGBA", overlay.size, "white")
        strip.alpha_composite(overlay)
        image[top:bottom] = np.asarray(strip)[:, :, 2::-1]
    return image


def _count(limit: int, unit: str) -> str:
    return f"{limit / 1_000_000:g} {unit}"
