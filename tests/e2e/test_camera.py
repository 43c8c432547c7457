"""The camera component: it keeps running, and says in words when it cannot."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Server, start_server, stop_server


@pytest.mark.parametrize(("name", "tab"), [("verify", "Photo"), ("enroll", "Upload")])
def test_a_denied_camera_points_to_photos(peopled: Server, denied: Page, name: str, tab: str) -> None:
    denied.goto(f"{peopled.url}/{name}")
    expect(denied.get_by_text("The camera is blocked")).to_be_visible()
    expect(denied.get_by_role("button", name="Try again")).to_be_visible()
    denied.get_by_role("button", name="Use a photo instead").click()
    expect(denied.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
    expect(denied.locator("input[type=file]")).to_have_count(1)


def test_the_camera_goes_on_while_the_page_changes(peopled: Server, page: Page) -> None:
    page.goto(f"{peopled.url}/verify")
    camera = page.locator(".camera")
    expect(camera).to_have_attribute("data-labels", "Eileen Collins")
    camera.evaluate("element => { element.dataset.mark = 'same' }")
    page.get_by_text("Cache first").click()
    expect(page.get_by_text(re.compile(r"match · faiss$"))).to_be_visible()
    page.get_by_role("slider").press("ArrowRight")
    expect(page.get_by_text("0.41", exact=True)).to_be_visible()
    expect(camera).to_have_attribute("data-mark", "same")
    before = int(camera.get_attribute("data-results") or 0)
    expect(camera).not_to_have_attribute("data-results", str(before))
    expect(camera).to_have_attribute("data-status", "live")


def test_frames_and_recognitions_are_counted(peopled: Server, page: Page) -> None:
    page.goto(f"{peopled.url}/verify")
    camera = page.locator(".camera")
    expect(camera).to_have_attribute("data-fps", re.compile(r"^[1-9]\d*\.\d$"))
    expect(camera).to_have_attribute("data-recognitions", re.compile(r"^[1-9]\d*\.\d$"))
    expect(page.get_by_text(re.compile(r"\d+ frames/s · \d+ checked/s"))).to_be_visible()


def test_one_to_one_checks_against_the_chosen_person_only(peopled: Server, page: Page) -> None:
    page.goto(f"{peopled.url}/verify")
    page.get_by_text("One person").click()
    expect(page.get_by_text("Choose the person to compare with")).to_be_visible()
    page.get_by_role("combobox").click()
    page.get_by_role("option", name="Tom Hanks", exact=True).click()
    camera = page.locator(".camera")
    expect(camera).to_have_attribute("data-faces", "unknown")
    expect(page.locator(".robi-candidate")).to_have_count(1)
    expect(page.locator(".robi-candidate")).to_contain_text("own photos")
    expect(page.locator(".robi-headline")).to_contain_text("Not recognised as Tom Hanks")


def test_leaving_the_page_turns_the_camera_off(peopled: Server, page: Page) -> None:
    page.goto(f"{peopled.url}/verify")
    expect(page.locator(".camera")).to_have_attribute("data-status", "live")
    track = page.locator("video").evaluate_handle("video => video.srcObject.getVideoTracks()[0]")
    page.get_by_role("link", name="Events").click()
    expect(page.get_by_role("heading", name="Events")).to_be_visible()
    page.wait_for_function("track => track.readyState === 'ended'", arg=track)


def test_a_camera_that_stops_says_so_and_comes_back(peopled: Server, page: Page) -> None:
    page.goto(f"{peopled.url}/verify")
    camera = page.locator(".camera")
    expect(camera).to_have_attribute("data-status", "live")
    page.locator("video").evaluate(
        "video => video.srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))"
    )
    expect(page.get_by_text("The camera stopped")).to_be_visible()
    expect(page.get_by_role("button", name="Use a photo instead")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(camera).to_have_attribute("data-status", "live")
    expect(camera).to_have_attribute("data-labels", "Eileen Collins")


def test_a_restarted_server_is_joined_again(tmp_path_factory: pytest.TempPathFactory, page: Page) -> None:
    data = tmp_path_factory.mktemp("restart") / "data"
    first = start_server(data)
    page.goto(f"{first.url}/enroll")
    camera = page.locator(".camera")
    expect(camera).to_have_attribute("data-status", "live")
    port = first.url.rsplit(":", 1)[1]
    stop_server(first)
    expect(page.get_by_text("Connection lost")).to_be_visible()
    second = start_server(data, ROBI_PORT=port)
    try:
        expect(camera).to_have_attribute("data-status", "live", timeout=40_000)
    finally:
        stop_server(second)
