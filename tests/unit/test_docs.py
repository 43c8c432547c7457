"""The documents name what the code serves, measures and is made of, and nothing else."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.routing import Route

from api.app import create_api, root_routes
from core.config.settings import Settings, load_settings
from core.metrics import Metrics
from core.monitoring import prometheus
from tests import documents
from tests.documents import ROOT

API = (ROOT / "docs/api.md").read_text()
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
SETTINGS = (ROOT / "docs/settings.md").read_text()
DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))
DOCUMENTS = documents.documents()
TREE = (ROOT / "core/domain/errors.py").read_text().split('"""')[1].split("Messages")[0]


def nothing() -> None:
    raise AssertionError("describing the API needs no resources")


def section(text: str, heading: str) -> str:
    """What stands below a heading, to the next one of its level or above."""
    level = len(heading.partition(" ")[0])
    below = f"\n{text}".split(f"\n{heading}\n", 1)[1]
    return re.split(rf"\n#{{1,{level}}} ", below)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, without their heads."""
    lines = [line.strip("| ") for line in re.findall(r"^\|.*\|$", text, re.MULTILINE)]
    cells = [[cell.strip() for cell in re.split(r" ?\| ?", line)] for line in lines]
    return [row for row in cells if "`" in row[0]]


# ---------------------------------------------------------------- what every document names


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=shown)
class TestEveryDocument:
    def test_its_paths_exist(self, document: Path):
        assert documents.missing_paths(document.read_text(), document.parent) == []

    def test_its_functions_exist(self, document: Path):
        assert documents.missing_names(document.read_text()) == []
        assert documents.missing_members(document.read_text()) == []

    def test_its_variables_are_read(self, document: Path):
        assert documents.missing_variables(document.read_text()) == []

    def test_its_make_targets_exist(self, document: Path):
        assert documents.missing_targets(document.read_text()) == []

    def test_its_links_lead_somewhere(self, document: Path):
        assert documents.dead_links(document.read_text(), document.parent) == []


def test_every_document_can_be_reached_from_the_readme():
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        document = waiting.pop()
        seen.add(document)
        found = {documents.target(link, document.parent) for link in documents.links(document.read_text())}
        waiting += [path for path in found if path.suffix == ".md" and path.exists() and path not in seen]
    assert set(DOCUMENTS) - seen == set()


@pytest.mark.parametrize(
    "text",
    [
        "see `core/store/hibrid.py`",
        "see `kore/store/hybrid.py`",
        "see `hybrid.py`",
        "see [docs/apy.md](docs/api.md)",
        "see `tests/unit/store/test_none*`",
        "see `data/legder.db`",
        "```\npython tests/bench_nothing.py\n```",
        "```\n│ core/store   core/strore │\n```",
    ],
)
def test_a_path_that_is_not_there_is_found(text):
    assert len(documents.missing_paths(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "`core.store.hybrid.HybridVectorStore.sink`",
        "`core.store.hibrid`",
        "`core.live.LiveSession2`",
        "`core/store/hybrid.py` `HybridVectorStore.sink`",
        "`core/store/hybrid.py` `sync`",
        "`core/store/hybrid.py`\n`HybridVectorStore.sync`, `HybridVectorStore.sink`",
        "`core/store/hybrid.py` `HybridVectorStore.sync` → `_sink`",
        "`dashboard/shared/camera/camera.js` `Camera.shout`",
        "`core/store/nothing.py` `sync`",
    ],
)
def test_a_function_that_is_not_there_is_found(text):
    assert len(documents.missing_names(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "`core.store.hybrid.HybridVectorStore.sync`, `core.store`, `core.live.LiveSessions`",
        "`core.__version__`",
        "`core/store/trial.py` `Trial.search` → `hot_on_trial`, and `nothing` of its own",
        "`dashboard/shared/camera/camera.js` `Camera.send`, `reasonOf`",
        "`core/domain/search.py` `SearchTimings.total`",
    ],
)
def test_a_function_that_is_there_is_not(text):
    assert documents.missing_names(text) == []


@pytest.mark.parametrize(
    "link", ["docs/nothing.md", "docs/api.md#nothing", "#nothing", "../README.md", "LICENCE"]
)
def test_a_link_that_leads_nowhere_is_found(link):
    assert documents.dead_links(f"# A heading\n[text]({link})", ROOT) == [link]


def test_a_member_that_no_class_has_is_found():
    text = "`HybridVectorStore.sync`, `HybridVectorStore.sink`, `Camera.send`, `Camera.sent()`, `README.md`"
    assert documents.missing_members(text) == ["HybridVectorStore.sink", "Camera.sent"]


def test_variables_and_targets_that_are_not_there_are_found():
    text = "`ROBI_PROT` `ROBI_PORT=1` `make dance`\n```\nQDRANT_ULR=http://x make run\n```"
    assert documents.missing_variables(text) == ["ROBI_PROT", "QDRANT_ULR"]
    assert documents.missing_targets(text) == ["dance"]


def test_a_rule_of_the_looking_up_finds_what_the_documents_name():
    """A change of how documents are written must not leave nothing to look up."""
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    assert len(documents.names_behind_files(text)) > 150
    assert len(documents.links(text)) > 50


# ---------------------------------------------------------------- the REST contract


def calls() -> dict[str, Mapping[str, Any]]:
    """What the API describes of itself, by method and full path."""
    paths = create_api(nothing).openapi()["paths"]
    return {
        f"{m.upper()} /api/v1{path}": call for path, methods in paths.items() for m, call in methods.items()
    }


def properties(schema: Mapping[str, Any]) -> set[str]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        schema = create_api(nothing).openapi()["components"]["schemas"][name]
    return set(schema.get("properties", ()))


def fields(call: Mapping[str, Any]) -> set[str]:
    """What a call takes besides its path."""
    taken = {one["name"] for one in call.get("parameters", ()) if one["in"] != "path"}
    for content in call.get("requestBody", {}).get("content", {}).values():
        taken |= properties(content["schema"])
    return taken


def answered(call: Mapping[str, Any]) -> set[str]:
    good = next(answer for status, answer in call["responses"].items() if status.startswith("2"))
    return properties(good["content"]["application/json"]["schema"])


def documented_routes() -> set[str]:
    """ "`GET`, `PATCH /x`" and "`GET /x`, `GET /y`" both count twice."""
    routes: set[str] = set()
    for cell, *_ in rows(section(API, "## Routes")):
        names = re.findall(r"`([^`]+)`", cell)
        path = names[-1].split(" ")[-1]
        routes |= {name if " " in name else f"{name} {path}" for name in names}
    return {route for route in routes if not route.startswith("WS ")}


def test_the_routes_are_exactly_those_that_are_served():
    served = set(calls())
    for route in root_routes(nothing):
        assert isinstance(route, Route)
        served.add(f"GET {route.path}")
    assert documented_routes() == served


@pytest.mark.parametrize("name", sorted(calls()))
def test_a_call_takes_and_answers_exactly_what_is_written(name):
    said = section(API, f"### `{name}`")
    assert {cell.strip("`") for cell, *_ in rows(said)} == fields(calls()[name])
    assert answered(calls()[name]) - set(documents.spans(said)) == set()


def codes_by_class() -> dict[str, tuple[str, set[str]]]:
    """The tree of errors as it is drawn: each class with its status and codes."""
    found: dict[str, tuple[str, set[str]]] = {}
    for line in TREE.splitlines():
        if began := re.match(r"(?:[├└]── )?(\w+)\s+(\d{3}|–)\s+(.*)", line):
            name, status, codes = began.groups()
            found[name] = (status, set())
        else:
            codes = line
        if found:
            found[name][1].update(re.findall(r"[a-z]+(?:_[a-z]+)*", codes))
    return found


def test_every_error_code_of_the_code_is_in_its_drawing():
    classes = "|".join(codes_by_class())
    used = {
        code
        for folder in ("core", "api", "dashboard", "pages", "robi")
        for file in (ROOT / folder).rglob("*.py")
        for code in re.findall(rf'(?:{classes})\(\s*"(\w+)"', file.read_text())
    }
    assert len(used) > 40
    assert used - {code for _, codes in codes_by_class().values() for code in codes} == set()


def test_each_status_has_exactly_the_codes_of_the_tree():
    drawn = {status: codes for status, codes in codes_by_class().values() if status != "–"}
    drawn["404"] |= {"unknown_page"}  # these two are the framework's own
    drawn["405"] = {"method_not_allowed"}
    lines = [line.split(" | ") for line in re.findall(r"^\| (\d{3} .*)", API, re.MULTILINE)]
    assert {status: set(documents.spans(codes)) for status, codes, *_ in lines} == drawn


def test_what_keeps_from_starting_is_exactly_what_the_tree_says():
    table = rows(section(OPERATIONS, "### What keeps Robi from starting"))
    assert {cell.strip("`") for cell, *_ in table} == codes_by_class()["StartError"][1]


def test_what_a_backup_is_refused_for_is_exactly_what_the_tree_says():
    table = rows(section(OPERATIONS, "### What a backup is refused for"))
    assert {cell.strip("`") for cell, *_ in table} == codes_by_class()["BackupError"][1]


# ---------------------------------------------------------------- settings and metrics


def test_the_settings_are_exactly_those_that_there_are_with_their_defaults(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    defaults = load_settings()
    table = {name.strip("`"): default for name, default, *_ in rows(SETTINGS)}
    assert set(table) == {name.upper() for name in Settings.model_fields}
    for name, default in table.items():
        monkeypatch.setenv(name, "" if default == "empty" else default)
    assert load_settings() == defaults


def test_the_readmes_few_settings_have_their_defaults():
    few = {tuple(row[:2]) for row in rows(section((ROOT / "README.md").read_text(), "## A few settings"))}
    assert few
    assert few - {tuple(row[:2]) for row in rows(SETTINGS)} == set()


def test_the_variables_of_the_containers_are_documented():
    compose = (ROOT / "docker-compose.yml").read_text()
    read = set(re.findall(r"\$\{([A-Z0-9_]+)", compose)) - {name.upper() for name in Settings.model_fields}
    assert read
    assert read - set(documents.spans(section(OPERATIONS, "## With containers"))) == set()


def test_the_metrics_are_exactly_those_that_are_exposed():
    text = prometheus.text(Metrics().counters.registry, ()).decode()
    exposed = set(re.findall(r"^# TYPE (robi_\w+)", text, re.MULTILINE))
    table = rows(section((ROOT / "docs/metrics.md").read_text(), "## Metrics"))
    assert {name for cell, *_ in table for name in documents.spans(cell) if "robi_" in name} == exposed


# ---------------------------------------------------------------- architecture and decisions


def test_every_package_has_its_place_among_the_layers():
    layers = documents.spans(section(ARCHITECTURE, "## Layers"))
    folders = [*(ROOT / "core").iterdir(), *(ROOT / "dashboard").iterdir()]
    packages = {shown(folder) for folder in folders if any(folder.glob("[!_]*.py"))}
    assert len(packages) > 15
    assert packages - set(layers) == set()


def test_the_layers_are_drawn_as_they_are_checked():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    checked = [{name.replace(".", "/") for name in layer.split(" | ")} for layer in layers]
    drawn = [
        {span for span in documents.spans(row[0]) if span.startswith("core/")}
        for row in rows(section(ARCHITECTURE, "## Layers"))
    ]
    assert [layer for layer in drawn if layer] == [layer for layer in checked if "core/" in min(layer)]
    sections = next(row for row in rows(section(ARCHITECTURE, "## Layers")) if "sections" in row[0])
    assert set(documents.spans(sections[1])) in checked


def test_every_invariant_names_a_test_that_holds_it():
    invariants = re.split(r"\n(?=\d+\. )", section(ARCHITECTURE, "## Invariants"))[1:]
    assert len(invariants) == 9
    for invariant in invariants:
        held_by = [
            name for file, name in documents.names_behind_files(invariant) if file.startswith("tests/")
        ]
        assert held_by, invariant
        assert all(name.startswith("test_") for name in held_by), invariant


@pytest.mark.parametrize("record", DECISIONS, ids=shown)
def test_a_decision_is_short_and_says_why(record):
    text = record.read_text()
    assert len(text.splitlines()) <= 30
    assert text.startswith(f"# {record.name[:4]}. ")
    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_decisions_are_numbered_without_a_gap():
    assert [int(record.name[:4]) for record in DECISIONS] == list(range(1, len(DECISIONS) + 1))


# ---------------------------------------------------------------- hooks


def test_the_hooks_are_local_and_run_what_make_check_runs():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    hooks = repository["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    recipe = recipe_of("check").replace("$(BIN)", ".venv/bin")
    for hook in hooks:
        program, *options = hook["entry"].split()
        assert program in recipe
        assert all(option in recipe for option in options)
    assert {hook["entry"].split()[0] for hook in hooks} == set(re.findall(r"\.venv/bin/[\w-]+", recipe))


def recipe_of(target: str) -> str:
    return re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
