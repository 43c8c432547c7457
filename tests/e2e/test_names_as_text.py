"""A name is text, wherever it is shown: no icon, no link, no longer dash, but what was typed."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from core.services.demo import demo_photos
from tests.e2e.conftest import Server, start_server, stop_server

NAMES = {
    "icon": ":material/delete:",
    "logo": "a:streamlit:b",
    "dash": "Anne -- Marie",
    "smile": "Ana :smile:",
    "link": "http://evil.example/x",
    "www": "www.evil.example",
    "mail": "ana@evil.example",
    "colour": ":red[Ana] *Ana* [Ana](evil.example)",
    "line": "# Ana \\ 1. (c) &amp;",
}
DRAWN = "[data-testid=stMain] :is(a[href*=evil], img[alt*=Streamlit], [role=img][aria-label*=delete])"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Robi with people of such names, who all look like the astronaut."""
    running = start_server(tmp_path_factory.mktemp("named") / "data")
    photo = demo_photos()[-1].path
    for user_id, name in NAMES.items():
        answer = httpx.post(
            f"{running.url}/api/v1/enroll",
            data={"user_id": user_id, "name": name, "allow_duplicate": "true"},
            files={"images": ("http://evil.example/a.png", photo.read_bytes(), "image/png")},
            timeout=30,
        )
        assert answer.status_code == 201, answer.text
    yield running
    stop_server(running)


def text_of(page: Page) -> str:
    return page.locator("[data-testid=stMain]").text_content() or ""


@pytest.mark.parametrize("where", ["people", "events"])
def test_lists_show_names_as_they_were_typed(named: Server, page: Page, where: str) -> None:
    page.goto(f"{named.url}/{where}")
    first = page.get_by_text(NAMES["icon"]).first
    expect(first).to_be_visible()
    page.wait_for_load_state("networkidle")
    shown = text_of(page)
    assert [name for name in NAMES.values() if name not in shown] == []
    expect(page.locator(DRAWN)).to_have_count(0)


@pytest.mark.parametrize("user_id", NAMES)
def test_titles_and_buttons_show_names_as_they_were_typed(named: Server, page: Page, user_id: str) -> None:
    page.goto(f"{named.url}/people?person={user_id}")
    expect(page.locator("h1 [data-heading-text]")).to_have_text(NAMES[user_id])
    page.goto(f"{named.url}/enroll?person={user_id}")
    expect(page.locator("h1 [data-heading-text]")).to_have_text(f"Add photos of {NAMES[user_id]}")
    expect(page.get_by_role("button", name=f"Add to {NAMES[user_id]}")).to_be_visible()
    expect(page.locator(DRAWN)).to_have_count(0)


def test_a_choice_shows_names_as_they_were_typed(named: Server, page: Page) -> None:
    page.goto(f"{named.url}/verify")
    page.get_by_text("One person", exact=True).click()
    page.get_by_role("combobox").click()
    for name in NAMES.values():
        expect(page.get_by_role("option", name=name, exact=True)).to_be_visible()
    expect(page.locator(DRAWN)).to_have_count(0)
