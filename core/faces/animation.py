"""How many pictures a file holds: of an animation only the first is looked at, and that must be said."""

from __future__ import annotations

from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
_WEBP_ANIMATED = 0x02
_MOST_CHUNKS = 10_000  # looked at: a file may be made of nothing but empty ones


def frames(data: bytes) -> int:
    """Pictures in an animated PNG or WebP, by what its chunks say; 1 for every other file."""
    if data.startswith(_PNG):
        return max(1, _of_png(data))
    if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and data[20:21] and data[20] & _WEBP_ANIMATED:
        return max(1, sum(name == b"ANMF" for name in _webp_chunks(data)))
    return 1


def _of_png(data: bytes) -> int:
    """What the animation control says; it stands before the pixels."""
    at = len(_PNG)
    for _ in range(_MOST_CHUNKS):
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if name == b"acTL":
            return int.from_bytes(data[at + 8 : at + 12], "big")
        if name in (b"IDAT", b""):
            break
        at += 12 + length
    return 1


def _webp_chunks(data: bytes) -> Iterator[bytes]:
    at = 12
    for _ in range(_MOST_CHUNKS):
        if at + 8 > len(data):
            return
        yield data[at : at + 4]
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
