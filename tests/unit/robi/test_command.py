"""The command `robi`: what it says, to whom, and with which exit status."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.config.settings import Settings
from robi.cli import main
from tests.unit.robi.conftest import Command, Server, environment

Done = subprocess.CompletedProcess[str]
Here = Callable[..., Done]


@pytest.fixture
def here(cwd: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """As `robi` beside Ana's gallery, in this process, which has its libraries already."""
    monkeypatch.chdir(cwd)
    handlers = list(logging.getLogger().handlers)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)

    def run(*arguments: object) -> Done:
        given = [str(argument) for argument in arguments]
        status = main.main(given)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(given, status, said.out, said.err)

    yield run
    logging.captureWarnings(capture=False)  # as a command has it, but not the tests after it
    logging.getLogger().handlers[:] = handlers


@pytest.fixture(scope="module")
def cwd(robi: Command, album: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Ana is enrolled in ./data; tests must leave her."""
    directory = tmp_path_factory.mktemp("cwd")
    shutil.copytree(album, directory, dirs_exist_ok=True)
    said = robi(directory, "enroll", "ana", "ana1.png", "group.jpg", "--name", "Ana Ruiz")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.splitlines() == [
        "Ana Ruiz (ana) enrolled with 1 photo.",
        "  not group.jpg: More than one person. Only one may be in the picture.",
    ]
    return directory


def error_of(done: Done) -> dict:
    assert (done.returncode, done.stdout) == (2, "")
    error = json.loads(done.stderr)["error"]
    assert error["message"]
    assert error["hint"]
    return error


def test_verify_answers_yes_with_0_and_no_with_1(robi: Command, cwd: Path) -> None:
    yes = robi(cwd, "verify", "ana2.jpg")
    assert (yes.returncode, yes.stderr) == (0, "")
    assert re.fullmatch(
        r"match: Ana Ruiz \(ana\), similarity 0\.\d{4}; the threshold is 0\.40\.\n", yes.stdout
    )
    no = robi(cwd, "verify", "bob1.png")
    assert (no.returncode, no.stderr) == (1, "")
    assert no.stdout.startswith("unknown: nobody")


def test_verify_asks_about_one_person(here: Here) -> None:
    said = here("verify", "bob1.png", "--user-id", "ana", "--json")
    answer = json.loads(said.stdout)
    assert (said.returncode, answer["verified"], answer["decision"]) == (1, False, "unknown")
    assert [candidate["source"] for candidate in answer["candidates"]] == ["ledger"]
    text = here("verify", "bob1.png", "--user-id", "ana").stdout
    assert text.startswith("unknown: not Ana Ruiz (ana), similarity 0.")


def test_an_error_is_2_never_1_and_stdout_stays_empty(here: Here) -> None:
    for photo, code in (("nowhere.png", "bad_parameter"), ("ana2.jpg", "unknown_person")):
        error = error_of(here("verify", photo, "--user-id", "nobody", "--json"))
        assert error["code"] == code
    text = here("verify", "nowhere.png")
    assert (text.returncode, text.stdout) == (2, "")
    assert text.stderr.startswith("robi: bad_parameter: Photo 1 cannot be read: No such file")
    assert text.stderr.count("\n") == 1


def test_a_duplicate_is_refused_and_named_and_can_be_allowed(here: Here) -> None:
    error = error_of(here("enroll", "eve", "ana2.jpg", "--json"))
    assert (error["code"], error["detail"]["user_id"]) == ("duplicate_person", "ana")
    assert " It is ana (0." in here("enroll", "eve", "ana2.jpg").stderr
    allowed = here("enroll", "eve", "ana2.jpg", "--name", "Ana Ruiz", "--allow-duplicate", "--json")
    answer = json.loads(allowed.stdout)
    assert (allowed.returncode, answer["created"], answer["searchable"]) == (0, True, True)
    assert [warning["code"] for warning in answer["warnings"]] == ["name_exists"]
    assert here("erase", "eve").returncode == 0


def test_photos_are_added_only_when_that_is_said(here: Here) -> None:
    assert error_of(here("enroll", "ana", "ana2.jpg", "--json"))["code"] == "person_exists"
    added = here("enroll", "ana", "ana2.jpg", "--add")
    assert (added.returncode, added.stdout) == (0, "Ana Ruiz (ana) has been given 1 photo.\n")


def test_people_are_listed_for_people_and_for_programs(here: Here) -> None:
    assert here("people", "--query", "RUIZ").stdout.startswith("ana\tAna Ruiz\t")
    assert here("people", "--query", "zz").stdout == "Nobody of that name.\n"
    answer = json.loads(here("people", "--json").stdout)
    assert (answer["total"], [user["user_id"] for user in answer["users"]]) == (1, ["ana"])


def test_erased_is_erased_from_the_files_when_the_command_ends(here: Here, tmp_path: Path) -> None:
    assert here("enroll", "bob", "bob1.png", "--data-dir", tmp_path).returncode == 0
    said = here("erase", "bob", "--data-dir", tmp_path, "--json")
    assert said.returncode == 0
    assert json.loads(said.stdout) == {
        "user_id": "bob",
        "templates_erased": 1,
        "tiers": {"ledger": 0, "qdrant": 0, "faiss": 0},
        "disk": {tier: {"bytes": 0, "gone_by": None} for tier in ("ledger", "qdrant")},
    }
    again = error_of(here("erase", "bob", "--data-dir", tmp_path, "--json"))
    assert again["code"] == "unknown_person"


def test_only_enrolling_makes_a_gallery(here: Here, tmp_path: Path) -> None:
    for arguments in (["people"], ["verify", "ana1.png"], ["erase", "ana"]):
        error = error_of(here(*arguments, "--json", "--data-dir", tmp_path / "new"))
        assert error["code"] == "data_dir_unusable"
    assert list(tmp_path.iterdir()) == []


def test_environment_and_option_name_the_directory(
    here: Here, cwd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROBI_DATA_DIR", str(cwd / "data"))
    assert json.loads(here("people", "--json").stdout)["total"] == 1
    monkeypatch.setenv("ROBI_DATA_DIR", "/nowhere")
    assert here("people", "--data-dir", cwd / "data").returncode == 0
    assert error_of(here("people", "--json", "--data-dir", ""))["code"] == "invalid_setting"


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ([], "robi --help"),
        (["enrol", "ana"], "robi --help"),
        (["enroll", "ana"], "robi enroll --help"),
        (["verify", "a.png", "b.png"], "robi --help"),
        (["verify", "a.png", "--user", "ana"], "robi --help"),  # options are written out
    ],
)
def test_bad_usage_is_an_error_like_any_other(here: Here, arguments: list[str], where: str) -> None:
    said = here(*arguments)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.startswith("robi: bad_parameter: ")
    assert said.stderr.endswith(f"See {where}.\n")
    assert error_of(here(*arguments, "--json"))["code"] == "bad_parameter"


def test_run_that_cannot_start_is_one_line_and_2(robi: Command, tmp_path: Path) -> None:
    said = robi(tmp_path, "run", "--host", "0.0.0.0")
    assert said.returncode == 2
    assert said.stderr.startswith("Robi cannot start: ROBI_HOST: must be a loopback address")
    assert list(tmp_path.iterdir()) == []


def test_beside_a_server_each_command_says_what_to_do(robi: Command, server: Server, cwd: Path) -> None:
    for arguments in (["people"], ["verify", "ana1.png"], ["enroll", "ana", "ana1.png"], ["erase", "ana"]):
        error = error_of(robi(cwd, *arguments, "--json", "--data-dir", server.data_dir))
        assert error["code"] == "data_dir_locked"
        assert f"process {server.process.pid}," in error["message"]
        assert "RobiClient" in error["hint"]
        assert "stop it" in error["hint"]


def test_a_mistake_of_robis_own_is_no_answer(python: Command, cwd: Path) -> None:
    """Python's own status for one is 1, which would mean "no"."""
    code = """
import sys
from robi.cli import main, recognition
recognition.opened = None
sys.exit(main.main(["verify", "ana1.png", "--json"]))
"""
    assert error_of(python(cwd, "-c", code))["code"] == "internal_error"
    told = python(cwd, "-c", code, ROBI_LOG_LEVEL="DEBUG")
    assert "Traceback" in told.stderr
    assert told.returncode == 2


def test_a_reader_who_has_enough_is_no_mistake(site: Path, cwd: Path) -> None:
    closed = "import os, sys; os.close(1); r, w = os.pipe(); os.close(r); os.dup2(w, 1);"
    code = f"{closed} from robi.cli.main import main; sys.exit(main(['people', '--json']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=environment(site),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "")
