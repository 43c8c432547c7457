"""Robi as others have it: a package built, a directory of photos, the command, and a server of it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.config.settings import Settings
from robi.client import RobiApiError, RobiClient

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("api", "core", "dashboard", "pages", "robi")
PARTS = ("pyproject.toml", "README.md", "LICENSE", *PACKAGES)

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Server:
    url: str
    data_dir: Path
    process: subprocess.Popen[bytes]

    @property
    def client(self) -> RobiClient:
        return RobiClient(self.url)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install .` installs, built from a copy: building leaves folders beside the sources."""
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, copy / part)
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", out, copy],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="session")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel is installed: as pip does, its files are laid out in a folder on Python's path."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def album(photos: Mapping[str, bytes], variants: Mapping[str, bytes], tmp_path_factory) -> Path:
    """A folder with photos, whose names are their people's."""
    folder = tmp_path_factory.mktemp("album")
    for name, data in {
        "ana1.png": photos["astronaut"],
        "ana2.jpg": variants["astronaut"],
        "bob1.png": photos["hanks"],
        "bob2.jpg": variants["hanks"],
        "group.jpg": photos["group"],
    }.items():
        (folder / name).write_bytes(data)
    return folder


def environment(site: Path, **variables: str) -> dict[str, str]:
    """This process's, without settings of Robi's, with the package on Python's path."""
    names = {name.upper() for name in Settings.model_fields}
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "PYTHONPATH": path, **variables}


@pytest.fixture(scope="session")
def python(site: Path) -> Command:
    """Runs Python with arguments in a directory, with the package installed."""

    def run(cwd: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd,
            env=environment(site, **variables),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def robi(python: Command) -> Command:
    """Runs `robi` with arguments in a directory."""

    def run(cwd: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return python(cwd, "-m", "robi", *arguments, **variables)

    return run


@pytest.fixture(scope="session")
def server(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`robi run`, started in an empty directory."""
    cwd = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "robi", "run", "--port", str(port), "--data-dir", "gallery"]
    with (cwd / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=cwd, env=environment(site), stdout=log, stderr=log)
    running = Server(f"http://127.0.0.1:{port}", cwd / "gallery", process)
    try:
        for _ in range(600):
            assert process.poll() is None, (cwd / "log").read_text()
            try:
                if running.client.health().status == "ok":
                    break
            except RobiApiError:
                pass
            time.sleep(0.1)
        yield running
    finally:
        process.terminate()
        process.wait(15)


@pytest.fixture
def client(server: Server) -> Iterator[RobiClient]:
    """A client of the server, whose gallery is empty again at the end."""
    client = server.client
    yield client
    for user in list(client.users()):
        client.erase(user.user_id)
