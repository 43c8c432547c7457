"""A part of Robi breaks while the browser looks: words, never a stack trace."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import PHONE, Server


def test_a_broken_ledger_is_said_in_words(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/events")
    expect(page.get_by_role("heading", name="Events")).to_be_visible()
    with sqlite3.connect(server.data_dir / "ledger.db") as ledger:
        ledger.execute("DROP TABLE events")
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_role("alert").first).to_be_visible()
    shown = page.locator("body").inner_text()
    for leak in ("Traceback", "sqlite", "no such table", 'File "', "site-packages"):
        assert leak not in shown
    page.goto(f"{server.url}/settings")
    expect(page.get_by_text("FACE_THRESHOLD")).to_be_visible()


@pytest.mark.parametrize("name", ["enroll", "verify"])
def test_a_phone_shows_the_camera_without_scrolling(
    peopled: Server, launch: Callable[..., Browser], name: str
) -> None:
    context = launch().new_context(viewport=PHONE, permissions=["camera"])
    page = context.new_page()
    page.goto(f"{peopled.url}/{name}")
    video = page.locator("video")
    expect(page.locator(".camera")).to_have_attribute("data-status", "live", timeout=20_000)
    box = video.bounding_box()
    context.close()
    assert box is not None
    assert box["y"] + box["height"] <= PHONE["height"]
