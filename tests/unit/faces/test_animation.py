"""How many pictures a file holds, whatever its chunks claim."""

from __future__ import annotations

import io

import PIL.Image
import pytest

from core.faces.animation import frames

COLOURS = ("red", "green", "blue")


def file(kind: str, pictures: int, **options: object) -> bytes:
    first, *others = (PIL.Image.new("RGB", (32, 24), colour) for colour in COLOURS[:pictures])
    out = io.BytesIO()
    more = {"save_all": True, "append_images": others} if others else {}
    first.save(out, kind, **more, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("pictures", [2, 3])
def test_the_pictures_of_an_animation_are_counted(kind: str, pictures: int) -> None:
    assert frames(file(kind, pictures)) == pictures


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_a_still_picture_is_one(kind: str) -> None:
    assert frames(file(kind, 1)) == 1


def test_a_picture_with_a_profile_is_no_animation() -> None:
    assert frames(file("WEBP", 1, icc_profile=b"\0" * 200)) == 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_file_cut_off_anywhere_is_counted_as_far_as_it_goes(kind: str) -> None:
    whole = file(kind, 3)
    counts = [frames(whole[:length]) for length in range(len(whole))]
    assert set(counts) <= {1, 2, 3}


@pytest.mark.parametrize("start", [b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8X\x02\0\0\0\x02\0\0\0"])
def test_a_file_of_nothing_but_empty_chunks_ends(start: bytes) -> None:
    assert frames(start + b"\0" * 1_000_000) == 1
