"""docs/python.md and README say what the library, the command and the client are."""

from __future__ import annotations

import inspect
import re

import pytest

from robi import Robi
from robi.cli.main import main
from robi.client import RobiApiError, RobiClient
from tests.unit.robi.conftest import ROOT
from tests.unit.robi.test_library import TEN_LINES

DOCS = (ROOT / "docs/python.md").read_text()
README = (ROOT / "README.md").read_text()


def section(name: str) -> str:
    return DOCS.split(f"\n## {name}\n")[1].split("\n## ")[0]


def methods(text: str) -> dict[str, set[str]]:
    """The methods of a table's first column, each with the names of its arguments."""
    rows = "\n".join(row.split("|")[1] for row in text.splitlines() if row.startswith("|"))
    return {
        name: set(filter(None, re.split(r"=?,\s*|=$", arguments)))
        for name, arguments in re.findall(r"`(\w+)\(([^)]*)\)", rows)
    }


@pytest.mark.parametrize(("kind", "part"), [(Robi, "The library"), (RobiClient, "The client")])
def test_the_tables_have_every_method_with_its_arguments(kind: type, part: str) -> None:
    made_otherwise = {"open", "of"}  # of which the text tells
    own = {
        name: inspect.signature(method).parameters.keys() - {"self"}
        for name, method in inspect.getmembers(kind, callable)
        if not name.startswith("_") and name not in made_otherwise
    }
    assert methods(section(part)) == own


def help_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    return capsys.readouterr().out


def test_the_table_has_every_command_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    of_all = {"--help", "--data-dir", "--json"}
    commands = re.search(r"\ncommands:\n(.*)", help_of(capsys), re.DOTALL)[1]
    own = {
        name: set(re.findall(r"--[a-z][\w-]*", help_of(capsys, name))) - of_all
        for name in re.findall(r"^ {4}(\w+) ", commands, re.MULTILINE)
    }
    written = re.findall(r"^\| `robi (\w+)([^`]*)`", section("The command"), re.MULTILINE)
    assert {name: set(re.findall(r"--[\w-]+", rest)) for name, rest in written} == own


def test_the_clients_own_codes_are_told() -> None:
    source = inspect.getsource(inspect.getmodule(RobiApiError))
    own = set(re.findall(r'RobiApiError\(\s*"(\w+)"', source))
    told = section("The client").split("three of the client's own: ")[1]
    assert set(re.findall(r"`(\w+)`", told)[:3]) == own


def test_the_ten_lines_are_those_that_are_tested() -> None:
    shown = TEN_LINES.strip().replace('"ana1.png"', '"ana1.jpg"').replace('verify("ana2', 'verify("probe')
    assert shown in README
    assert shown in DOCS
