"""Uploads that lie: nothing they do reaches a disk, and every limit holds for what comes out of them."""

import io
import os
import stat
import struct
import zipfile

import pytest

from core.calibration import archive
from core.calibration.archive import REASONS, Labelled, Skipped, count_files, labelled_images
from core.calibration.uploaded import Upload
from core.domain.errors import RobiError

PHOTO = os.urandom(500)


def zipped(*entries, method=zipfile.ZIP_DEFLATED):
    """Entries are (name, data) or (ZipInfo, data)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as out:
        for name, data in entries:
            out.writestr(name, data)
    return buffer.getvalue()


def images(*uploads, most_bytes=1_000_000):
    found = list(labelled_images(uploads, most_bytes))
    return [f for f in found if isinstance(f, Labelled)], {
        f.path: f.reason for f in found if isinstance(f, Skipped)
    }


def of_zip(data, **options):
    return images(Upload("set.zip", data), **options)


def code_of(problem):
    assert problem.value.message.endswith(".")
    assert problem.value.hint
    return problem.value.code


def test_folders_name_people_in_archives_and_in_uploaded_folders():
    taken, skipped = of_zip(zipped(("ana/1.jpg", PHOTO), ("set/ben/2.PNG", PHOTO), ("a b/ü.webp", PHOTO)))
    assert [(one.label, one.data) for one in taken] == [("ana", PHOTO), ("ben", PHOTO), ("a b", PHOTO)]
    assert skipped == {}
    taken, skipped = images(Upload("set/ana/1.jpg", PHOTO), Upload("ben/1.jpeg", PHOTO))
    assert [one.label for one in taken] == ["ana", "ben"]


def test_junk_is_skipped_by_name():
    names = [".DS_Store", "ana/.DS_Store", "__MACOSX/ana/._1.jpg", "ana/Thumbs.db", "ana/notes.txt", "ana/1"]
    taken, skipped = of_zip(zipped(("ana/1.jpg", PHOTO), *((name, b"x") for name in names)))
    assert len(taken) == 1
    assert skipped == dict.fromkeys(names, "junk")
    assert set(skipped.values()) <= set(REASONS)


def test_a_picture_outside_any_folder_has_no_person():
    assert of_zip(zipped(("1.jpg", PHOTO)))[1] == {"1.jpg": "no_person"}


@pytest.mark.parametrize(
    "path", ["../ana/1.jpg", "ana/../../etc/1.jpg", "/etc/ana/1.jpg", "C:/ana/1.jpg", "ana\\..\\1.jpg"]
)
def test_paths_that_lead_out_are_refused(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert of_zip(zipped((path, PHOTO), ("ana/1.jpg", PHOTO)))[1] == {path: "unsafe_path"}
    assert images(Upload(path, PHOTO))[0] == []
    assert list(tmp_path.iterdir()) == []


def test_an_archive_in_the_archive_is_not_opened():
    inner = zipped(("ana/1.jpg", PHOTO))
    taken, skipped = of_zip(zipped(("ana/more.zip", inner), ("ana/more.tar.gz", PHOTO)))
    assert taken == []
    assert set(skipped.values()) == {"nested_archive"}


def test_links_are_not_followed():
    link = zipfile.ZipInfo("ana/1.jpg")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert of_zip(zipped((link, "/etc/passwd")))[1] == {"ana/1.jpg": "link"}


def test_what_needs_a_password_is_skipped():
    data = bytearray(zipped(("ana/1.jpg", PHOTO)))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    assert of_zip(bytes(data))[1] == {"ana/1.jpg": "encrypted"}


def test_the_same_path_counts_once():
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = zipped(("ana/1.jpg", PHOTO), ("ana/1.jpg", PHOTO))
    taken, skipped = of_zip(data)
    assert len(taken) == 1
    assert skipped == {"ana/1.jpg": "twice"}


def test_a_damaged_entry_is_skipped_and_the_others_taken():
    data = bytearray(zipped(("ana/1.jpg", PHOTO), ("ana/2.jpg", PHOTO), method=zipfile.ZIP_STORED))
    data[data.index(PHOTO) + 10] ^= 0xFF  # its checksum no longer holds
    taken, skipped = of_zip(bytes(data))
    assert [one.path for one in taken] == ["ana/2.jpg"]
    assert skipped == {"ana/1.jpg": "damaged"}


def test_an_unknown_compression_is_skipped():
    data = bytearray(zipped(("ana/1.jpg", PHOTO)))
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", data, data.index(signature) + offset, 93)
    assert of_zip(bytes(data))[1] == {"ana/1.jpg": "damaged"}


@pytest.mark.parametrize("data", [b"", b"no archive", PHOTO, zipped(("ana/1.jpg", PHOTO))[:-30]])
def test_what_is_no_archive_is_said_to_be_none(data):
    with pytest.raises(RobiError) as problem:
        of_zip(data)
    assert code_of(problem) == "bad_archive"
    with pytest.raises(RobiError):
        count_files([Upload("set.zip", data)])


def outcome(data, **options):
    """The skipped files, or the code of the refusal; anything else that is raised goes through."""
    try:
        return of_zip(data, **options)[1]
    except RobiError as problem:
        return problem.code


@pytest.mark.parametrize("cut", range(0, 300, 7))
def test_archives_cut_anywhere_never_raise_anything_else(cut):
    data = zipped(("ana/1.jpg", b"x" * 50), ("ana/2.jpg", b"y" * 50))
    for broken in (data[:cut], data[cut:], data[:cut] + b"\xff\xff" + data[cut + 2 :]):
        found = outcome(broken)
        assert isinstance(found, dict) or found in {"bad_archive", "archive_too_large"}


# ---------------------------------------------------------------- bombs


def test_a_bomb_is_stopped_while_it_unpacks():
    bomb = zipped(("ana/1.jpg", bytes(20_000_000)))
    assert len(bomb) < 60_000
    with pytest.raises(RobiError) as problem:
        of_zip(bomb, most_bytes=10**9)
    assert code_of(problem) == "archive_too_large"


def test_an_image_that_is_too_large_is_not_unpacked_to_its_end(monkeypatch):
    monkeypatch.setattr(archive, "_CHUNK", 1000)
    monkeypatch.setattr(archive, "MOST_BYTES", 5000)  # would be exceeded if it were read on
    taken, skipped = of_zip(zipped(("ana/1.jpg", os.urandom(20_000))), most_bytes=2000)
    assert taken == []
    assert skipped == {"ana/1.jpg": "image_too_large"}


def test_many_small_files_cannot_unpack_to_more_than_the_limit(monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 4 * len(PHOTO))
    data = zipped(*((f"ana/{number}.jpg", PHOTO) for number in range(5)))
    with pytest.raises(RobiError) as problem:
        of_zip(data)
    assert code_of(problem) == "archive_too_large"
    with pytest.raises(RobiError):  # all uploads together
        images(*(Upload(f"ana/{number}.jpg", PHOTO) for number in range(5)))


def test_a_size_that_lies_does_not_help():
    """The listing claims ten bytes; what really comes out is counted, or refused as damaged."""
    data = bytearray(zipped(("ana/1.jpg", bytes(5_000_000))))
    struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 24, 10)
    assert outcome(bytes(data), most_bytes=10**9) in ("archive_too_large", {"ana/1.jpg": "damaged"})


def test_too_many_files_are_refused(monkeypatch):
    monkeypatch.setattr(archive, "MOST_FILES", 3)
    data = zipped(*((f"ana/{number}.jpg", PHOTO) for number in range(3)))
    assert count_files([Upload("set.zip", data)]) == 3
    with pytest.raises(RobiError) as problem:
        count_files([Upload("set.zip", data), Upload("ana/9.jpg", PHOTO)])
    assert code_of(problem) == "archive_too_large"


@pytest.mark.parametrize("zip64", [False, True])
def test_a_listing_too_long_to_be_read_is_refused_before_it_is(monkeypatch, zip64):
    monkeypatch.setattr(archive, "MOST_DIRECTORY", 1000)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 5 if zip64 else 65535)
    data = zipped(*((f"ana/{number}.jpg", b"") for number in range(40)))
    assert (b"PK\x06\x06" in data) == zip64
    monkeypatch.setattr(archive.zipfile, "ZipFile", pytest.fail)
    with pytest.raises(RobiError) as problem:
        count_files([Upload("set.zip", data)])
    assert code_of(problem) == "archive_too_large"
