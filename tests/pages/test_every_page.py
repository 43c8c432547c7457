"""Every page draws itself, empty and full, in the words an operator reads."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from core.services.service import RobiService
from tests.pages.conftest import words_of

PAGES = (
    "overview",
    "enroll",
    "verify",
    "people",
    "events",
    "strategies",
    "monitoring",
    "calibration",
    "settings",
)
ENGINEERS = ("strategies", "monitoring", "calibration", "settings")


@pytest.mark.parametrize("name", PAGES)
def test_page_draws_with_an_empty_gallery(open_page: Callable[..., AppTest], name: str) -> None:
    at = open_page(name)
    assert at.title[0].value.lower() == name


@pytest.mark.parametrize("name", PAGES)
def test_page_draws_with_people(open_page: Callable[..., AppTest], demo: RobiService, name: str) -> None:
    at = open_page(name)
    assert at.title[0].value.lower() == name
    assert not at.error


@pytest.mark.parametrize("name", PAGES)
def test_headings_leave_out_no_level(open_page: Callable[..., AppTest], demo: RobiService, name: str) -> None:
    at = open_page(name)
    assert [title.tag for title in at.title] == ["h1"]
    assert not at.subheader or at.header  # a third level only below a second


@pytest.mark.parametrize("name", PAGES)
def test_page_has_at_most_one_primary_button(
    open_page: Callable[..., AppTest], demo: RobiService, name: str
) -> None:
    primary = [button.label for button in open_page(name).button if button.proto.type == "primary"]
    assert len(primary) <= 1, primary


@pytest.mark.parametrize("name", [name for name in PAGES if name not in ENGINEERS])
def test_operators_read_no_jargon(open_page: Callable[..., AppTest], demo: RobiService, name: str) -> None:
    said = words_of(open_page(name))
    assert not re.search(r"embedding|vector|cosine|None|nan", said, re.IGNORECASE), said


@pytest.mark.parametrize("name", ["overview", "verify", "people", "events", "strategies", "calibration"])
def test_empty_gallery_says_what_to_do_next(open_page: Callable[..., AppTest], name: str) -> None:
    labels = [button.label for button in open_page(name).button if button.proto.type == "primary"]
    assert labels == ["Enroll the first person"]


def test_status_line_links_to_monitoring(open_page: Callable[..., AppTest], demo: RobiService) -> None:
    at = open_page("overview")
    line = next(link for link in at.get("page_link") if "8 people" in link.proto.label)
    assert "Ready" in line.proto.label
    assert line.proto.page == "monitoring"
