"""README names what the code serves and measures, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.routing import Route

from api.app import create_api, root_routes
from core.metrics import Metrics
from core.monitoring import prometheus

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def nothing() -> None:
    raise AssertionError("describing the API needs no resources")


def served() -> set[str]:
    """Every route as README writes it: method and full path."""
    paths = create_api(nothing).openapi()["paths"]
    routes = {f"{method.upper()} /api/v1{path}" for path, methods in paths.items() for method in methods}
    for route in root_routes(nothing):
        assert isinstance(route, Route)
        routes.add(f"GET {route.path}")
    return routes


def documented() -> set[str]:
    """The routes of README's table; "`GET`, `PATCH /x`" and "`GET /x`, `GET /y`" both count twice."""
    routes: set[str] = set()
    section = README.split("## REST API")[1].split("\n## ")[0]
    for cell in re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE):
        names = re.findall(r"`([^`]+)`", cell)
        path = names[-1].split(" ")[-1]
        routes |= {name if " " in name else f"{name} {path}" for name in names}
    return {route for route in routes if not route.startswith("WS ")}


def test_readme_lists_exactly_the_routes_that_are_served():
    assert documented() == served()


def test_readme_lists_exactly_the_metrics_that_are_exposed():
    text = prometheus.text(Metrics().counters.registry, ()).decode()
    exposed = set(re.findall(r"^# TYPE (robi_\w+)", text, re.MULTILINE))
    assert set(re.findall(r"`(robi_\w+)`", README)) == exposed


def test_every_error_code_of_the_tree_is_in_its_drawing():
    drawing = (ROOT / "core/domain/errors.py").read_text().split('"""')[1]
    pattern = re.compile(
        r"(?:RobiError|BadInput|NotFound|TooSlow|Conflict|TooLarge|UnsupportedImage|Unusable|Busy|Unavailable|StartError)"
        r'\(\s*"(\w+)"'
    )
    used = {
        code
        for folder in ("core", "api", "dashboard", "pages")
        for file in (ROOT / folder).rglob("*.py")
        for code in pattern.findall(file.read_text())
    }
    assert used
    assert sorted(code for code in used if code not in drawing) == []


def test_readme_lists_exactly_the_codes_of_the_tree():
    drawing = (ROOT / "core/domain/errors.py").read_text().split('"""')[1].split("Messages")[0]
    of_the_framework = {"unknown_page", "method_not_allowed"}
    drawn = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b|\bbusy\b|\bcancelled\b", drawing))
    section = README.split("| Status | Codes |")[1].split("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", section)) - {"request_id"} == drawn | of_the_framework


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)h#][^)]*)\)", README))
def test_readme_links_lead_somewhere(link):
    assert (ROOT / link).exists()
