"""Every page in a real browser: nothing from outside, nothing wider than a phone, nothing broken."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import PHONE, Server

PAGES = ("", "enroll", "verify", "people", "events", "strategies", "monitoring", "calibration", "settings")


def test_the_browser_asks_nobody_but_robi(peopled: Server, page: Page) -> None:
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(request.url))
    for name in PAGES:
        page.goto(f"{peopled.url}/{name}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.wait_for_load_state("networkidle")
    hosts = {urlsplit(url).hostname for url in asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {"127.0.0.1"}


def test_the_browser_meets_no_script_error(peopled: Server, page: Page) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda problem: problems.append(str(problem)))
    for name in PAGES:
        page.goto(f"{peopled.url}/{name}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_text("Something went wrong")).to_have_count(0)
    assert problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_scrolls_sideways_on_a_phone(
    peopled: Server, launch: Callable[..., Browser], scheme: str
) -> None:
    context = launch().new_context(viewport=PHONE, permissions=["camera"], color_scheme=scheme)
    page = context.new_page()
    wide = {}
    for name in (*PAGES, "people?person=eileen-collins"):
        page.goto(f"{peopled.url}/{name}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.wait_for_load_state("networkidle")
        wide[name] = page.evaluate(
            "Math.max(document.documentElement.scrollWidth,"
            " ...[...document.querySelectorAll('section, main')].map(e => e.scrollWidth))"
        )
    context.close()
    assert {name: width for name, width in wide.items() if width > PHONE["width"]} == {}


def test_both_themes_are_our_own(peopled: Server, launch: Callable[..., Browser]) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        context = launch().new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(f"{peopled.url}/settings")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        seen[scheme] = page.get_by_test_id("stApp").evaluate("e => getComputedStyle(e).backgroundColor")
        context.close()
    assert seen == {"light": "rgb(255, 255, 255)", "dark": "rgb(14, 20, 32)"}
