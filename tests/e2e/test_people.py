"""A person's way through People and Events: addresses, Back and loading again lead where they were."""

from __future__ import annotations

import re

import httpx
from playwright.sync_api import Page, expect

from core.services.demo import demo_photos
from tests.e2e.conftest import Server

RED = re.compile(r"rgb\(19[0-9], 5[0-9], 6[0-9]\)|color\(srgb 0\.7[0-9]* 0\.2[0-9]* 0\.2[0-9]*\)")


def enroll(server: Server) -> None:
    _, hanks, astronaut = demo_photos()
    for user_id, name, photo in (
        ("eileen", "Eileen Collins", astronaut.path),
        ("tom-hanks", "Tom Hanks", hanks.path),
    ):
        files = {"images": (photo.name, photo.read_bytes(), "image/png")}
        data = {"user_id": user_id, "name": name}
        answer = httpx.post(f"{server.url}/api/v1/enroll", data=data, files=files, timeout=30)
        assert answer.status_code == 201, answer.text


def test_what_was_looked_for_and_at_is_in_the_address(server: Server, page: Page) -> None:
    enroll(server)
    search, title = page.get_by_placeholder("Name or ID"), page.locator("h1")
    page.goto(f"{server.url}/people")
    page.evaluate("window.loadedOnce = true")
    search.fill("hanks")
    expect(page.get_by_role("link", name="Eileen Collins")).to_have_count(0)
    expect(page).to_have_url(f"{server.url}/people?q=hanks")

    hanks = page.get_by_role("link", name="Tom Hanks")
    expect(hanks).to_have_count(1)  # of the list before, which fades, and the new one
    hanks.click()
    expect(title).to_have_text("Tom Hanks")
    expect(page).to_have_url(f"{server.url}/people?person=tom-hanks")
    page.go_back()
    expect(title).to_have_text("People")
    expect(search).to_have_value("hanks")
    expect(hanks).to_have_count(1)
    hanks.click()
    page.get_by_role("link", name="All people").click()
    expect(search).to_have_value("hanks")
    expect(page).to_have_url(f"{server.url}/people?q=hanks")
    expect(page.get_by_role("link", name="Eileen Collins")).to_have_count(0)

    page.get_by_role("link", name="Events", exact=True).click()
    page.get_by_role("link", name="Eileen Collins").click()
    expect(title).to_have_text("Eileen Collins")
    expect(page).to_have_url(f"{server.url}/people?person=eileen")
    assert page.evaluate("window.loadedOnce") is True  # no link has loaded everything again
    page.reload()
    expect(title).to_have_text("Eileen Collins")


def test_renaming_by_enter_and_erasing_with_a_receipt_that_stays(server: Server, page: Page) -> None:
    enroll(server)
    page.goto(f"{server.url}/people?person=tom-hanks")
    page.get_by_role("button", name="More").click()
    page.get_by_text("Rename", exact=True).click()
    name = page.get_by_role("dialog").get_by_role("textbox", name="Name")
    name.fill("Thomas Hanks")
    name.press("Enter")
    expect(page.locator("h1")).to_have_text("Thomas Hanks")
    expect(page.get_by_text("the name was Tom Hanks")).to_be_visible()

    page.get_by_role("button", name="More").click()
    page.get_by_text("Erase", exact=True).click()
    dialog = page.get_by_role("dialog")
    keep, erase = (dialog.get_by_role("button", name=label, exact=True) for label in ("Keep", "Erase"))
    expect(erase).to_have_css("background-color", RED)
    expect(keep).not_to_have_css("background-color", RED)
    page.keyboard.press("Enter")  # nothing is erased by it
    expect(erase).to_be_visible()
    erase.click()
    receipt = page.get_by_text("The person with ID tom-hanks was erased")
    expect(receipt).to_be_visible()
    expect(page).to_have_url(re.compile(r"/people\?receipt=\d+$"))
    page.reload()
    expect(receipt).to_be_visible()
    expect(page.get_by_text("0 left in the ledger, 0 in Qdrant, 0 in the cache.")).to_be_visible()
    expect(page.get_by_text("Hanks", exact=False)).to_have_count(1)  # the ID of the receipt, and no name
