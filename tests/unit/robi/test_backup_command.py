"""`robi backup` and `robi restore`, as somebody types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from robi.client import RobiClient
from tests.unit.robi.conftest import Command, Server


@pytest.fixture(scope="module")
def cwd(robi: Command, album: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Ana and Bob are enrolled in ./data, with a key file."""
    directory = tmp_path_factory.mktemp("cwd")
    shutil.copytree(album, directory, dirs_exist_ok=True)
    (directory / "key").write_text("correct horse battery staple\n")
    assert robi(directory, "enroll", "ana", "ana1.png", "--name", "Ana Ruiz").returncode == 0
    assert robi(directory, "enroll", "bob", "bob1.png").returncode == 0
    return directory


def code_of(done) -> str:
    assert (done.returncode, done.stdout) == (2, "")
    error = json.loads(done.stderr)["error"]
    assert error["message"]
    assert error["hint"]
    return error["code"]


def test_back_up_verify_erase_restore(robi: Command, cwd: Path):
    made = robi(cwd, "backup", "night.backup", "--key-file", "key")
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.startswith("Backed up 2 people and 2 templates, as of change 2 (")
    assert code_of(robi(cwd, "backup", "night.backup", "--json")) == "backup_exists"
    whole = robi(cwd, "backup", "verify", "night.backup", "--key-file", "key")
    assert whole.stdout.startswith("Whole: 2 people and 2 templates, as of change 2.\n")
    assert "encrypted" in whole.stdout
    assert code_of(robi(cwd, "backup", "verify", "night.backup", "--json")) == "backup_key_needed"

    assert robi(cwd, "erase", "bob").returncode == 0
    shutil.copy(cwd / "data" / "erasures.list", cwd / "erased")
    again = robi(
        cwd, "restore", "night.backup", "--key-file", "key", "--data-dir", "new", "--erasures", "erased"
    )
    assert (again.returncode, again.stderr) == (0, "")
    assert "1 person erased again" in again.stdout
    assert robi(cwd, "verify", "ana2.jpg", "--data-dir", "new").returncode == 0
    assert robi(cwd, "verify", "bob2.jpg", "--data-dir", "new").returncode == 1
    assert code_of(robi(cwd, "restore", "night.backup", "--json", "--data-dir", "new")) == "gallery_exists"

    loud = robi(cwd, "restore", "night.backup", "--key-file", "key", "--data-dir", "third")
    assert "WARNING: no list of erasures was found." in loud.stdout


def test_programs_get_json_and_a_passphrase_can_be_piped(robi: Command, cwd: Path):
    made = json.loads(robi(cwd, "backup", "clear", "--json").stdout)
    assert (made["encrypted"], made["bytes"]) == (False, (cwd / "clear").stat().st_size)
    assert {"robi", "made_at", "engine", "ledger", "parts"} <= made.keys()
    verified = json.loads(robi(cwd, "backup", "verify", "clear", "--json").stdout)
    assert verified == {name: said for name, said in made.items() if name != "bytes"}
    restored = json.loads(robi(cwd, "restore", "clear", "--json", "--data-dir", "fourth").stdout)
    assert restored["erasures"] == {"lists": 0, "erased_again": 0, "listed_until": None}


def test_a_key_file_can_be_a_setting(robi: Command, cwd: Path):
    assert robi(cwd, "backup", "set", ROBI_BACKUP_KEY_FILE="key").returncode == 0
    assert json.loads(robi(cwd, "backup", "verify", "set", "--json", "--key-file", "key").stdout)["encrypted"]


def test_bad_usage_is_said(robi: Command, cwd: Path):
    assert code_of(robi(cwd, "backup", "--json")) == "bad_parameter"
    assert code_of(robi(cwd, "backup", "check", "clear", "--json")) == "bad_parameter"
    assert code_of(robi(cwd, "backup", "new", "--json", "--data-dir", "nowhere")) == "data_dir_unusable"
    assert code_of(robi(cwd, "restore", "nowhere", "--json", "--data-dir", "fifth")) == "bad_parameter"
    assert not (cwd / "nowhere").exists()
    assert not (cwd / "fifth").exists()


def test_beside_a_server(robi: Command, server: Server, client: RobiClient, album: Path, tmp_path: Path):
    client.enroll("ana", [album / "ana1.png"])
    made = robi(tmp_path, "backup", "robi.backup", "--data-dir", server.data_dir)
    assert made.stdout.startswith("Backed up 1 person and 1 template")
    assert "It is not encrypted" in made.stdout
    client.erase("ana")
    shutil.copy(server.data_dir / "erasures.list", tmp_path)  # beside the backup it is found
    restored = robi(tmp_path, "restore", "robi.backup", "--json", "--data-dir", "new")
    assert json.loads(restored.stdout)["erasures"]["erased_again"] == 1
    assert robi(tmp_path, "people", "--data-dir", "new").stdout == "Nobody yet.\n"


def test_a_ledger_on_a_server_is_no_file_to_back_up(robi: Command, cwd: Path):
    there = {"DATABASE_URL": "postgresql+psycopg://robi@127.0.0.1:1/robi"}
    assert code_of(robi(cwd, "backup", "server.backup", "--json", **there)) == "backup_of_server"
    restored = robi(cwd, "restore", "night.backup", "--json", "--data-dir", "elsewhere", **there)
    assert code_of(restored) == "backup_of_server"
    assert not (cwd / "server.backup").exists()
    assert not (cwd / "elsewhere").exists()
