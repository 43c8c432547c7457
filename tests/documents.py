"""What a document names (paths, functions, settings, make targets, links), and what of it is not there.

A document is Markdown. It names a path, or a dotted name that begins with a package, in a code span; a
function behind its file: `core/domain/decisions.py` `settled`. Paths below `data/` are those of a data
directory: the code must know their names.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from core.config.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "api", "dashboard", "pages", "tests", "robi")

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_PATH = re.compile(r"\.?[\w@*-][\w.@*-]*(?:/[\w.@*-]+)+/?|\.?[\w-]+\.(?:py|js|css|md|toml|ya?ml|json|txt)")
_PATH_IN_A_COMMAND = re.compile(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)}|docs|deploy)/[\w./*-]*[\w*]")
_DOTTED = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+")
_BEHIND_A_FILE = re.compile(
    r"`([\w./-]+\.(?:py|js))`((?:\s`[A-Za-z_][\w.]*`)(?:(?:,\s|\s→\s|\sand\s)`[A-Za-z_][\w.]*`)*)"
)
_MEMBER = re.compile(r"([A-Z]\w*\.[a-z_]\w*)(?:\(\))?")
_LINKED = re.compile(r"\[([^\]`]+)\]\(")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_VARIABLE = re.compile(r"(?:QDRANT|FAISS|USE|GPU|FACE|SEARCH|ROBI|OTEL|GRAFANA)_[A-Z0-9_]*[A-Z0-9]")
_NOT_OURS = (".venv/",)


def documents() -> list[Path]:
    """Every document, the README first."""
    found = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
    return sorted(found, key=lambda path: path.name != "README.md" or path.parent != ROOT)


def spans(text: str) -> list[str]:
    """What is written as code within sentences and tables."""
    return _SPAN.findall(_FENCE.sub("", text))


def blocks(text: str) -> str:
    """What is written as code on lines of its own."""
    return "\n".join(_FENCE.findall(text))


# ---------------------------------------------------------------- paths


def missing_paths(text: str, beside: Path = ROOT) -> list[str]:
    """Paths that are nowhere, from the root of the project or `beside`."""
    written = [*spans(text), *_LINKED.findall(_FENCE.sub("", text))]
    named = [path for path in written if _PATH.fullmatch(path)] + _PATH_IN_A_COMMAND.findall(blocks(text))
    return [path for path in named if not (path.startswith(_NOT_OURS) or _is_there(path, beside))]


def _is_there(path: str, beside: Path) -> bool:
    if path.startswith("data/"):
        return all(_is_in_the_code(part) for part in path.rstrip("/").split("/")[1:])
    if "*" in path:
        return any(ROOT.glob(path))
    return (ROOT / path).exists() or (beside / path).exists()


def _is_in_the_code(name: str) -> bool:
    """Whether the code writes this name of a file or folder."""
    return any(f'"{name}"' in text for text in _sources())


@cache
def _sources() -> tuple[str, ...]:
    return tuple(
        file.read_text() for folder in ("core", "dashboard") for file in (ROOT / folder).rglob("*.py")
    )


# ---------------------------------------------------------------- names


def missing_names(text: str) -> list[str]:
    """Functions, classes and the like that are not where the text says."""
    prose = _FENCE.sub("", text)
    missing = [span for span in spans(text) if _DOTTED.fullmatch(span) and not _is_dotted_there(span)]
    for file, names in _BEHIND_A_FILE.findall(prose):
        path = ROOT / file
        known = defined_in(path) if path.is_file() else frozenset()
        missing += [f"{file} {name}" for name in _SPAN.findall(names) if name not in known]
    return missing


def missing_members(text: str) -> list[str]:
    """Members of classes, as `Ledger.erase`, that no class of the project has."""
    named = [span for span in spans(text) if not _PATH.fullmatch(span)]
    members = [found[1] for span in named if (found := _MEMBER.fullmatch(span))]
    return [member for member in members if member not in _everywhere()]


@cache
def _everywhere() -> frozenset[str]:
    files = [
        file for package in PACKAGES for end in ("py", "js") for file in (ROOT / package).rglob(f"*.{end}")
    ]
    return frozenset(name for file in files for name in defined_in(file))


def names_behind_files(text: str) -> list[tuple[str, str]]:
    """Each file with each function that is named behind it."""
    found = _BEHIND_A_FILE.findall(_FENCE.sub("", text))
    return [(file, name) for file, names in found for name in _SPAN.findall(names)]


def _is_dotted_there(dotted: str) -> bool:
    place, parts = ROOT, dotted.split(".")
    while parts and (place / parts[0]).is_dir():
        place, parts = place / parts[0], parts[1:]
    if not parts:
        return True
    module = place / f"{parts[0]}.py"
    if module.is_file():
        return len(parts) == 1 or ".".join(parts[1:]) in defined_in(module)
    package = place / "__init__.py"
    return package.is_file() and ".".join(parts) in defined_in(package)


@cache
def defined_in(path: Path) -> frozenset[str]:
    """The names of a Python or JavaScript file, those of classes behind their class: `Ledger.erase`."""
    text = path.read_text()
    return frozenset(_of_python(ast.parse(text).body) if path.suffix == ".py" else _of_javascript(text))


def _of_python(body: list[ast.stmt], within: str = "") -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            yield within + statement.name
            yield from _of_python(statement.body, f"{within}{statement.name}.")
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield within + statement.name
        elif isinstance(statement, ast.Import | ast.ImportFrom) and not within:
            yield from (alias.asname or alias.name for alias in statement.names)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            yield from (within + target.id for target in targets if isinstance(target, ast.Name))


def _of_javascript(text: str) -> Iterator[str]:
    within = ""
    for line in text.splitlines():
        if found := re.match(r"class (\w+)", line):
            within = f"{found[1]}."
            yield found[1]
        elif found := re.match(r"(?:(?:export default )?(?:async )?function|const|let) (\w+)", line):
            yield found[1]
        elif within and (found := re.match(r"  (?:async )?(\w+)\(.*\{$", line)):
            yield within + found[1]


# ---------------------------------------------------------------- variables, targets, links


def missing_variables(text: str) -> list[str]:
    """Variables of the environment that nobody reads."""
    named = [span.split("=")[0] for span in spans(text)] + _VARIABLE.findall(blocks(text))
    known = {name.upper() for name in Settings.model_fields} | _read_elsewhere()
    return [name for name in named if _VARIABLE.fullmatch(name) and name not in known]


@cache
def _read_elsewhere() -> frozenset[str]:
    """By containers, by the tests, or by OpenTelemetry, as the code says."""
    files = [ROOT / "docker-compose.yml", ROOT / "Makefile", *(ROOT / "tests/chaos").glob("*.py")]
    texts = [file.read_text() for file in files] + [(ROOT / "core/telemetry/tracing.py").read_text()]
    return frozenset(name for text in texts for name in _VARIABLE.findall(text))


def missing_targets(text: str) -> list[str]:
    """Targets that the Makefile does not have."""
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    code = "\n".join([*spans(text), blocks(text)])
    return [name for name in re.findall(r"\bmake ([a-z][\w-]*)", code) if name not in targets]


def links(text: str) -> list[str]:
    """Links to documents and files of the project, as they are written."""
    found = _LINK.findall(_SPAN.sub("", _FENCE.sub("", text)))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def dead_links(text: str, beside: Path) -> list[str]:
    """Links that lead to no file, or to no heading of it."""
    return [link for link in links(text) if not _leads_somewhere(link, text, beside)]


def target(link: str, beside: Path) -> Path:
    return (beside / unquote(link.partition("#")[0])).resolve()


def _leads_somewhere(link: str, text: str, beside: Path) -> bool:
    file, _, heading = link.partition("#")
    path = target(link, beside)
    if file and not path.exists():
        return False
    if not heading:
        return True
    return heading in headings(path.read_text() if file else text)


def headings(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
