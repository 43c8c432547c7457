"""What `pip install .` brings is whole: every file that something reads is there, and the command starts."""

from __future__ import annotations

import configparser
import email
import subprocess
import sys
import zipfile
from pathlib import Path

import core
from tests.unit.robi.conftest import PACKAGES, ROOT, Command


def _in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as packed:
        return set(packed.namelist())


def _meta(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as packed:
        (path,) = (one for one in packed.namelist() if one.endswith(f".dist-info/{name}"))
        return packed.read(path).decode()


def test_every_file_of_every_package_is_in_it_and_nothing_else(wheel: Path) -> None:
    files = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    packed = {name for name in _in(wheel) if ".dist-info/" not in name}
    assert sorted(files - packed) == []
    assert sorted(packed - files) == []
    kinds = {Path(name).suffix for name in packed}
    assert {".py", ".js", ".css", ".svg", ".png", ".mako", ".toml", ".typed"} <= kinds


def test_it_has_the_command_the_version_the_licence_and_types(wheel: Path) -> None:
    scripts = configparser.ConfigParser()
    scripts.read_string(_meta(wheel, "entry_points.txt"))
    assert dict(scripts["console_scripts"]) == {"robi": "robi.cli.main:main"}
    about = email.message_from_string(_meta(wheel, "METADATA"))
    assert (about["Name"], about["Version"]) == ("robi", core.__version__)
    assert (about["License-Expression"], about["License-File"]) == ("Apache-2.0", "LICENSE")
    assert {"robi/py.typed", "core/py.typed", "api/py.typed"} <= _in(wheel)


def test_the_command_runs_where_the_sources_are_not(robi: Command, site: Path, tmp_path: Path) -> None:
    said = robi(tmp_path, "--version")
    assert (said.returncode, said.stdout) == (0, f"robi {core.__version__}\n")
    where = subprocess.run(
        [sys.executable, "-c", "import core, robi; print(core.__file__, robi.__file__)"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert str(ROOT) not in where
    assert list(tmp_path.iterdir()) == []
