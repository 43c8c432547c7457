"""Enrolling in a real browser: what was put in and what was said must last, and be in view."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from core.services.demo import demo_photos
from tests.e2e.conftest import PHONE, Server

expect.set_options(timeout=20_000)
GROUP, HANKS, ASTRONAUT = (str(photo.path) for photo in demo_photos())


def upload(page: Page, url: str, *paths: str) -> None:
    page.goto(f"{url}/enroll")
    page.get_by_role("tab", name="Upload").click()
    page.locator("input[type=file]").set_input_files(list(paths))
    expect(page.get_by_role("button", name="Remove", exact=True)).to_have_count(len(paths))


def test_what_is_wrong_with_saving_is_still_said_after_three_seconds(server: Server, page: Page) -> None:
    upload(page, server.url, ASTRONAUT)
    page.get_by_label("Name").fill("?!")
    page.get_by_role("button", name="Save ?!").click()
    expect(page.get_by_text("The name has no letter.")).to_be_visible()
    page.wait_for_timeout(3000)
    expect(page.get_by_text("The name has no letter.")).to_be_visible()


def test_name_and_photos_stay_when_the_page_is_loaded_anew_or_left(
    server: Server, page: Page, launch: Callable[..., Browser]
) -> None:
    upload(page, server.url, ASTRONAUT, HANKS)
    page.get_by_label("Name").fill("Ana Ruiz")
    expect(page.get_by_role("button", name="Save Ana Ruiz")).to_be_visible()
    page.wait_for_timeout(1000)
    page.reload()
    expect(page.get_by_label("Name")).to_have_value("Ana Ruiz")
    page.get_by_role("tab", name="Upload").click()
    expect(page.get_by_role("button", name="Remove", exact=True)).to_have_count(2)
    page.get_by_role("link", name="People", exact=True).click()
    expect(page.get_by_role("heading", name="People")).to_be_visible()
    page.get_by_role("link", name="Enroll", exact=True).click()
    expect(page.get_by_label("Name")).to_have_value("Ana Ruiz")
    stranger = launch().new_context().new_page()  # the same address in another browser
    stranger.goto(page.url)
    expect(stranger.get_by_text("0 good photos")).to_be_visible()
    expect(stranger.get_by_label("Name")).to_have_value("")
    stranger.context.close()
    page.get_by_role("button", name="Discard and start over").click()
    expect(page.get_by_label("Name")).to_have_value("")
    page.reload()
    page.get_by_role("tab", name="Upload").click()
    expect(page.get_by_text("0 good photos")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("")


def test_saving_stays_in_view_however_many_photos_there_are(server: Server, page: Page) -> None:
    upload(page, server.url, *[ASTRONAUT] * 7, HANKS, GROUP)
    page.get_by_label("Name").fill("Ana Ruiz")
    save = page.get_by_role("button", name="Save Ana Ruiz")
    expect(save).to_be_enabled()
    box = save.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900


def test_the_photos_that_the_camera_took_stay_when_the_page_is_loaded_anew(
    server: Server, page: Page
) -> None:
    page.goto(f"{server.url}/enroll")
    taken = page.get_by_role("img", name=re.compile(r"[1-9] of 5 photos taken"))
    expect(taken.first).to_be_visible()
    page.get_by_label("Name").fill("Ana")
    page.get_by_text("Take good photos automatically").click()
    page.wait_for_timeout(1000)
    page.reload()
    expect(page.get_by_label("Name")).to_have_value("Ana")
    expect(page.get_by_role("button", name="Remove", exact=True).first).to_be_visible()
    page.get_by_role("button", name="Save Ana").click()
    expect(page.get_by_text("Ana is enrolled")).to_be_visible()


def test_a_button_drawn_before_somebody_was_erased_does_not_bring_them_back(
    server: Server, page: Page
) -> None:
    photo = demo_photos()[2].path
    files = {"images": (photo.name, photo.read_bytes(), "image/png")}
    httpx.post(f"{server.url}/api/v1/enroll", data={"user_id": "eva", "name": "Eva"}, files=files, timeout=30)
    page.goto(f"{server.url}/enroll?person=eva")
    expect(page.get_by_role("heading", name="Add photos of Eva")).to_be_visible()
    assert httpx.delete(f"{server.url}/api/v1/users/eva").status_code == 200
    expect(page.get_by_text("Nobody is enrolled under this ID")).to_be_visible()
    expect(page.get_by_role("button", name="Add to Eva")).to_have_count(0)


@pytest.mark.parametrize("width", [PHONE["width"], 1280])
def test_the_line_of_coaching_is_whole_and_what_is_pressed_is_large_enough(
    server: Server, launch: Callable[..., Browser], width: int
) -> None:
    context = launch().new_context(viewport={"width": width, "height": 844}, permissions=["camera"])
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.goto(f"{server.url}/enroll")
    coach = page.locator(".coach")
    expect(coach).not_to_be_empty()
    coach.evaluate("e => { e.textContent = 'You may save now, or turn a little to your right' }")
    assert coach.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
    remove = page.get_by_role("button", name="Remove", exact=True).first
    expect(remove).to_be_visible()
    box = remove.bounding_box()
    assert box is not None
    assert box["height"] >= (44 if width < 640 else 24)
    context.close()
