"""`from robi import Robi`: a gallery in ten lines, without a server or its frameworks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config.settings import Settings
from core.domain.search import Decision, Source, Strategy
from robi import Robi, RobiError
from robi.options import GalleryOptions
from tests.unit.robi.conftest import Command

OF_A_SERVER = {
    "robi_data_dir",  # the first argument
    "robi_host",
    "robi_port",
    "robi_allowed_hosts",
    "robi_backup_dir",
    "robi_backup_hours",
    "robi_backup_keep",
    "robi_backup_key_file",
    "robi_log_level",
    "robi_log_format",
    "otel_exporter_otlp_endpoint",
    "otel_service_name",
}
TEN_LINES = """
from robi import Robi

with Robi.open("gallery") as robi:
    robi.enroll("ana", ["ana1.png", "ana2.jpg"])
    print(robi.verify("ana2.jpg").best)
"""
WITHOUT_A_SERVER = """
import sys
print(sorted({"streamlit", "fastapi", "starlette", "uvicorn"} & sys.modules.keys()))
"""


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory, album: Path) -> Iterator[Robi]:
    """Ana and Bob; tests must leave them as they are."""
    with Robi.open(tmp_path_factory.mktemp("gallery")) as robi:
        robi.enroll("ana", album / "ana1.png", name="Ana Ruiz")
        robi.enroll("bob", [album / "bob1.png"])
        yield robi


def refusal_of(problem: pytest.ExceptionInfo[RobiError]) -> str:
    assert problem.value.message.endswith(".")
    assert problem.value.hint
    return problem.value.code


def test_ten_lines_work_in_an_empty_directory_without_a_web_framework(
    python: Command, album: Path, tmp_path: Path
) -> None:
    for photo in ("ana1.png", "ana2.jpg"):
        (tmp_path / photo).symlink_to(album / photo)
    said = python(tmp_path, "-c", TEN_LINES + WITHOUT_A_SERVER)
    assert (said.returncode, said.stderr) == (0, "")
    best, imported = said.stdout.splitlines()
    assert best.startswith("Candidate(user_id='ana', name='ana', similarity=")
    assert imported == "[]"
    assert {path.name for path in tmp_path.iterdir()} == {"gallery", "ana1.png", "ana2.jpg"}


def test_the_client_needs_nothing_but_python(python: Command, tmp_path: Path) -> None:
    """`robi/client.py` can be copied to where there is no Robi."""
    code = "import sys, client; print(sorted({'core', 'pydantic', 'numpy', 'httpx'} & sys.modules.keys()))"
    copy = Path(__file__).resolve().parents[3] / "robi" / "client.py"
    (tmp_path / "client.py").write_text(copy.read_text())
    assert python(tmp_path, "-c", code).stdout == "[]\n"


def test_a_program_that_forgets_to_close_ends_all_the_same(
    python: Command, album: Path, tmp_path: Path
) -> None:
    code = "from robi import Robi; robi = Robi.open('g'); print(robi.enroll('ana', 'ana1.png').created)"
    (tmp_path / "ana1.png").symlink_to(album / "ana1.png")
    said = python(tmp_path, "-c", code)
    assert (said.returncode, said.stdout) == (0, "True\n")
    again = python(tmp_path, "-c", "from robi import Robi; print(len([*Robi.open('g').people()]))")
    assert again.stdout == "1\n"  # what was acknowledged is there


def test_who_it_is_how_sure_and_by_which_photo(gallery: Robi, album: Path) -> None:
    found = gallery.verify(album / "ana2.jpg")
    assert found.verified
    assert found.best is not None
    assert (found.best.user_id, found.best.name) == ("ana", "Ana Ruiz")
    assert found.decision is Decision.MATCH
    one = gallery.verify(str(album / "ana2.jpg"), user_id="ana")
    assert one.best is not None
    assert (one.verified, one.best.source) == (True, Source.LEDGER)
    other = gallery.verify((album / "bob2.jpg").read_bytes(), user_id="ana")
    assert (other.verified, other.decision) == (False, Decision.UNKNOWN)


def test_a_stranger_resembles_nobody(gallery: Robi, album: Path) -> None:
    """Whoever comes nearest is not named: they would be taken for a suspect."""
    stranger = gallery.identify(album / "group.jpg")
    assert len(stranger.faces) == 6
    assert all(face.best is None and face.candidates == () for face in stranger.faces)
    assert all(face.search.candidates for face in stranger.faces)  # somebody does come nearest
    alone = gallery.verify(album / "group.jpg")
    assert (alone.best, alone.verified, alone.decision) == (None, False, Decision.UNKNOWN)


def test_what_is_printed_holds_no_embedding(gallery: Robi, album: Path) -> None:
    found = gallery.verify(album / "ana2.jpg")
    assert f"{float(found.face.embedding[0]):.4f}"[:6] not in repr(found)
    assert "embedding" not in repr(found)


def test_people_are_listed_found_renamed_and_erased(gallery: Robi, album: Path) -> None:
    assert [person.user_id for person in gallery.people()] == ["ana", "bob"]
    assert [person.user_id for person in gallery.people("ruiz")] == ["ana"]
    gallery.enroll("eve", album / "bob2.jpg", allow_duplicate=True, metadata={"team": "night"})
    assert gallery.person("eve").metadata == {"team": "night"}
    assert gallery.rename("eve", "Eve").name == "Eve"
    assert [warning.code for warning in gallery.name_warnings("ana ruiz")] == ["name_exists"]
    receipt = gallery.erase("eve")
    assert receipt.left == {"ledger": 0, "qdrant": 0, "faiss": 0}
    assert gallery.receipt(receipt.event).templates_erased == 1
    with pytest.raises(RobiError) as problem:
        gallery.person("eve")
    assert refusal_of(problem) == "unknown_person"


def test_more_people_than_a_page_are_all_listed(gallery: Robi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robi.library._PAGE", 1)
    assert [person.user_id for person in gallery.people()] == ["ana", "bob"]


def test_each_photo_has_a_verdict_under_its_name(gallery: Robi, album: Path) -> None:
    photos = [album / "bob2.jpg", b"\0\1\2", album / "group.jpg"]
    result = gallery.enroll("dan", photos, allow_duplicate=True)
    try:
        assert [photo.photo for photo in result.enrolled] == ["bob2.jpg"]
        assert {photo.photo: photo.reasons for photo in result.rejected} == {
            "photo 2": ("not_an_image",),
            "group.jpg": ("several_faces",),
        }
    finally:
        gallery.erase("dan")


@pytest.mark.parametrize(
    ("photo", "code"),
    [
        ("nowhere.jpg", "bad_parameter"),
        (".", "bad_parameter"),
        ("/dev/zero", "image_too_large"),
        (b"", "not_an_image"),
    ],
)
def test_a_photo_that_cannot_be_had_is_an_error_in_words(
    gallery: Robi, photo: str | bytes, code: str
) -> None:
    with pytest.raises(RobiError) as problem:
        gallery.verify(photo)
    assert refusal_of(problem) == code


def test_a_second_one_is_refused_with_the_next_step(tmp_path: Path) -> None:
    with Robi.open(tmp_path), pytest.raises(RobiError) as problem:
        Robi.open(tmp_path)
    assert refusal_of(problem) == "data_dir_locked"
    assert "RobiClient" in problem.value.hint


def test_after_closing_it_says_so_and_can_be_opened_again(tmp_path: Path, album: Path) -> None:
    robi = Robi.open(tmp_path)
    robi.enroll("ana", album / "ana1.png")
    robi.close()
    robi.close()
    with pytest.raises(RobiError, match="closed"):
        robi.verify(album / "ana1.png")
    with Robi.open(tmp_path) as again:
        assert again.verify(album / "ana1.png").verified


def test_settings_are_arguments_and_the_environment_counts_only_when_asked(
    tmp_path: Path, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_effect(robi: Robi) -> tuple[float, float, Strategy | None]:
        found = robi.verify(album / "ana1.png").search
        return found.threshold, round(found.threshold - found.review_floor, 4), found.strategy

    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("FACE_REVIEW_BAND=0.09\n")
    monkeypatch.setenv("FACE_THRESHOLD", "0.9")
    with Robi.open("gallery", search_strategy="qdrant_only") as robi:
        assert in_effect(robi) == (0.40, 0.04, Strategy.QDRANT_ONLY)
        assert (tmp_path / "gallery" / "ledger.db").is_file()
    with Robi.open("gallery", environment=True, search_strategy="qdrant_only") as robi:
        assert in_effect(robi) == (0.9, 0.09, Strategy.QDRANT_ONLY)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"face_treshold": 0.5}, "Did you mean face_threshold?"),
        ({"robi_port": 8000}, "README lists the settings."),
        ({"face_threshold": 2}, "Give it another value."),
        ({"face_review_band": 0.5}, "Give it another value."),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_made(
    tmp_path: Path, options: dict, said: str
) -> None:
    with pytest.raises(RobiError) as problem:
        Robi.open(tmp_path / "gallery", **options)
    assert (refusal_of(problem), problem.value.hint) == ("invalid_setting", said)
    assert list(tmp_path.iterdir()) == []


def test_every_setting_that_is_no_servers_can_be_given() -> None:
    assert GalleryOptions.__annotations__.keys() == Settings.model_fields.keys() - OF_A_SERVER


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        ('ModuleNotFoundError("No module named faiss", name="faiss")', "The package faiss is not installed."),
        ('ModuleNotFoundError("…", name="onnxruntime")', "The package onnxruntime is not installed."),
        (
            'ImportError("libGL.so.1 is missing", name="cv2")',
            "A package cannot be loaded: libGL.so.1 is missing.",
        ),
    ],
)
def test_a_library_that_is_not_there_is_said_in_words(
    python: Command, tmp_path: Path, problem: str, said: str
) -> None:
    code = f"""
import sys
problem = {problem}
class Without:
    def find_spec(self, name, path=None, target=None):
        if name == problem.name:
            raise problem
sys.meta_path.insert(0, Without())
from robi import Robi, RobiError
try:
    Robi.open("gallery")
except RobiError as refused:
    print(refused.code, refused.message, refused.hint)
from robi.cli.main import main
sys.exit(main(["doctor"]))
"""
    done = python(tmp_path, "-c", code)
    assert done.stdout.startswith(f"library_missing {said} Install Robi with its libraries: robi[cpu]")
    assert "FAIL  " in done.stdout
    assert done.returncode == 2
