"""`robi doctor` says of each part whether it is well and what to do, and changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.config.settings import Settings, given_settings
from core.runtime import data_dir
from robi import Robi
from robi.cli.doctor import directory, recognition, stores
from robi.cli.doctor.finding import Level
from tests.qdrant_double import QdrantDouble
from tests.unit.robi.conftest import Command, Server, environment

PARTS = [
    "settings",
    "Python",
    "data directory",
    "in use",
    "face pack",
    "libraries",
    "GPU",
    "ledger",
    "FAISS",
    "Qdrant",
]
Make = Callable[..., Settings]


@pytest.fixture(scope="module")
def peopled(tmp_path_factory: pytest.TempPathFactory, album: Path) -> Path:
    """A gallery with Ana, closed."""
    path = tmp_path_factory.mktemp("peopled") / "data"
    with Robi.open(path) as robi:
        robi.enroll("ana", album / "ana1.png")
    return path


@pytest.fixture
def copy(peopled: Path, tmp_path: Path) -> Make:
    """Settings on a copy of that gallery of the test's own."""
    shutil.copytree(peopled, tmp_path / "data")

    def make(**values: object) -> Settings:
        return given_settings(robi_data_dir=tmp_path / "data", **values)

    return make


def state_of(folder: Path) -> dict[str, tuple[object, ...]]:
    """Every file with its content, rights and time."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder",
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
        )
        for path in [folder, *folder.rglob("*")]
    }


def told(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    assert [part["part"] for part in answer["parts"]] == PARTS
    verdicts = [part["verdict"] for part in answer["parts"]]
    worst = next(word for word in ("problem", "warning", "ok") if word in verdicts)
    assert (answer["verdict"], done.returncode) == (worst, 2 if worst == "problem" else 0)
    assert all(part["do"] for part in answer["parts"] if part["verdict"] != "ok")
    return {part["part"]: part for part in answer["parts"]}


def test_where_nothing_is_yet_all_is_well_and_nothing_is_made(robi: Command, tmp_path: Path) -> None:
    parts = told(robi(tmp_path, "doctor", "--json"))
    assert {part["verdict"] for part in parts.values()} == {"ok"}
    assert "the first start makes it" in parts["data directory"]["says"]
    assert list(tmp_path.iterdir()) == []


def test_a_gallery_is_looked_at_and_left_as_it_is(robi: Command, peopled: Path, tmp_path: Path) -> None:
    before = state_of(peopled)
    parts = told(robi(tmp_path, "doctor", "--json", "--data-dir", peopled))
    assert {part["verdict"] for part in parts.values()} == {"ok"}
    assert parts["ledger"]["says"] == "1 person, 1 template."
    assert parts["face pack"]["says"].startswith("open, 128 numbers a face.")
    assert state_of(peopled) == before


def test_people_read_lines_with_an_arrow_to_what_to_do(robi: Command, tmp_path: Path) -> None:
    said = robi(tmp_path, "doctor", USE_GPU="true", FACE_PACK="buffalo_l")
    lines = said.stdout.splitlines()
    assert [line[6:].split(":")[0] for line in lines if "->" not in line] == PARTS
    at = next(n for n, line in enumerate(lines) if "face pack" in line)
    assert lines[at].startswith("mind")
    assert lines[at + 1].strip().startswith("-> Without a network")


def test_beside_a_server_it_says_so_and_how_that_is(robi: Command, server: Server, tmp_path: Path) -> None:
    used = told(robi(tmp_path, "doctor", "--json", "--data-dir", server.data_dir))["in use"]
    assert used["verdict"] == "ok"
    assert used["says"] == f"Process {server.process.pid} serves it at {server.url} and says ok."
    assert server.client.health().status == "ok"  # and it goes on


def test_beside_a_program_it_says_which(robi: Command, peopled: Path, tmp_path: Path) -> None:
    lock = data_dir.hold(peopled)
    try:
        used = told(robi(tmp_path, "doctor", "--json", "--data-dir", peopled))["in use"]
    finally:
        lock.close()
    assert used["verdict"] == "ok"
    assert used["says"].startswith(f"Process {os.getpid()} uses the directory")


def test_a_setting_that_cannot_be_is_named_and_the_rest_looked_at(robi: Command, tmp_path: Path) -> None:
    parts = told(robi(tmp_path, "doctor", "--json", FACE_THRESHOLD="2"))
    assert parts["settings"]["verdict"] == "problem"
    assert parts["settings"]["says"].startswith("FACE_THRESHOLD: ")
    assert {part["verdict"] for name, part in parts.items() if name != "settings"} == {"ok"}


def test_after_a_kill_what_was_acknowledged_is_counted_and_nothing_is_touched(
    site: Path, album: Path, tmp_path: Path
) -> None:
    code = "import os; from robi import Robi; robi = Robi.open('g'); robi.enroll('ana', 'ana1.png');"
    code += "os.kill(os.getpid(), 9)"
    (tmp_path / "ana1.png").symlink_to(album / "ana1.png")
    killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(site), check=False)
    assert killed.returncode == -signal.SIGKILL
    gallery = tmp_path / "g"
    assert (gallery / "ledger.db-wal").stat().st_size > 0
    kept = [gallery / "ledger.db", gallery / "ledger.db-wal"]
    before = [path.read_bytes() for path in kept]
    settings = given_settings(robi_data_dir=gallery)
    assert stores.ledger(settings).says == "1 person, 1 template."
    assert directory.user(settings).says == "No process uses the directory now."
    assert [path.read_bytes() for path in kept] == before
    with Robi.open(gallery) as again:
        assert [person.user_id for person in again.people()] == ["ana"]


def test_a_directory_for_everybody_to_read_is_minded(copy: Make) -> None:
    settings = copy()
    settings.robi_data_dir.chmod(0o755)
    found = directory.place(settings)
    assert (found.verdict, "chmod 700" in found.do) == (Level.MIND, True)


def test_a_directory_that_is_none_or_cannot_be_made_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        found = directory.place(given_settings(robi_data_dir=path))
        assert found.verdict is Level.WRONG
        assert found.do.startswith("Set ROBI_DATA_DIR")


def test_a_lock_that_leads_elsewhere_is_wrong(copy: Make) -> None:
    settings = copy()
    lock = settings.robi_data_dir / data_dir.LOCK
    lock.unlink()
    lock.symlink_to("/etc/passwd")
    assert directory.place(settings).verdict is Level.WRONG
    assert directory.user(settings).verdict is Level.MIND


def test_another_face_pack_than_the_gallerys_is_wrong(copy: Make) -> None:
    found = stores.ledger(copy(face_pack="buffalo_l"))
    assert (found.verdict, found.do.startswith("Set FACE_PACK=open")) == (Level.WRONG, True)


def test_a_newer_ledger_is_wrong_and_an_older_one_is_brought_up(copy: Make) -> None:
    settings = copy()
    for revision, verdict, said in (
        ("9999", Level.WRONG, "newer version"),
        ("0001", Level.WELL, "brings its tables up to date"),
    ):
        with sqlite3.connect(settings.robi_data_dir / "ledger.db") as ledger:
            ledger.execute("UPDATE alembic_version SET version_num = ?", [revision])
        ledger.close()
        found = stores.ledger(settings)
        assert (found.verdict, said in found.says) == (verdict, True)


def test_a_ledger_that_is_torn_is_wrong(copy: Make) -> None:
    settings = copy()
    path = settings.robi_data_dir / "ledger.db"
    whole = path.read_bytes()
    for torn in (
        b"no ledger at all" * 100,
        whole[: len(whole) // 2],
        whole[:8192] + bytes(len(whole) - 8192),
    ):
        path.write_bytes(torn)
        found = stores.ledger(settings)
        assert (found.verdict, bool(found.do)) == (Level.WRONG, True)


def test_a_pack_that_is_not_as_it_was_built_is_wrong(copy: Make) -> None:
    settings = copy()
    (model,) = (settings.robi_data_dir / "packs" / "open").glob("rec_*.onnx")
    with model.open("r+b") as file:
        file.seek(5000)
        file.write(b"\0" * 64)
    found = recognition.models(settings)
    assert (found.verdict, model.name in found.says) == (Level.WRONG, True)


def test_packs_that_are_not_here(copy: Make) -> None:
    shutil.rmtree(copy().robi_data_dir / "packs")
    assert "first start does it" in recognition.models(copy()).says
    assert recognition.models(copy(face_pack="buffalo_l")).verdict is Level.MIND
    assert recognition.models(copy(face_pack="nobodys")).verdict is Level.WRONG


def test_a_gpu_that_was_asked_for_and_is_missing_is_minded() -> None:
    assert recognition.gpu(given_settings(use_gpu="false")).verdict is Level.WELL
    found = recognition.gpu(given_settings(use_gpu="true", gpu_device_id=77))
    assert (found.verdict, bool(found.do)) == (Level.MIND, True)


def test_a_qdrant_server_is_asked_and_left_as_it_is(copy: Make) -> None:
    with QdrantDouble() as server:
        settings = copy(qdrant_url=server.url, qdrant_grpc_port=server.grpc_port)
        assert stores.qdrant(settings).says.endswith("The next start makes the collection face_embeddings.")
        assert stores.qdrant(settings).verdict is Level.WELL
        with Robi.of(settings) as robi:
            assert robi.person("ana").templates == 1
        found = stores.qdrant(settings)
        assert (found.verdict, found.says.endswith("It has the collection.")) == (Level.WELL, True)
        elsewhere = settings.model_copy(update={"robi_data_dir": settings.robi_data_dir / "other"})
        other = stores.qdrant(elsewhere)
        assert (other.verdict, "another gallery" in other.says) == (Level.WRONG, True)


def test_a_qdrant_server_that_is_away_is_minded(copy: Make) -> None:
    found = stores.qdrant(copy(qdrant_url="http://127.0.0.1:9", qdrant_timeout_seconds=1))
    assert (found.verdict, "QDRANT_URL" in found.do) == (Level.MIND, True)


def test_a_qdrant_server_that_asks_for_a_key_is_wrong(copy: Make) -> None:
    with QdrantDouble() as server:
        server.faults.api_key = "secret"
        found = stores.qdrant(copy(qdrant_url=server.url, qdrant_grpc_port=server.grpc_port))
    assert (found.verdict, "QDRANT_API_KEY" in found.do) == (Level.WRONG, True)
