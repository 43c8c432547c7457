"""What a new user does, in a real browser, against a real process, with a camera that shows a real face."""

from __future__ import annotations

import re

import httpx
from playwright.sync_api import Page, expect

from core.services.demo import demo_photos
from tests.e2e.conftest import Server


def test_a_face_is_enrolled_by_webcam_verified_live_erased_and_unknown(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/enroll")
    camera = page.locator(".camera")
    expect(camera).to_have_attribute("data-status", "live")
    page.get_by_label("Name").fill("Ana Ruiz")
    expect(page.get_by_label("ID", exact=True)).to_have_attribute("placeholder", "ana-ruiz")
    expect(page.get_by_text(re.compile(r"^●+○* [1-9]\d* good photos?$"))).to_be_visible()
    page.get_by_role("button", name="Take a photo now").click()
    expect(page.get_by_text(re.compile(r"^●●+○* [2-9] good photos$"))).to_be_visible()
    expect(page.get_by_text("Looks like nobody who is enrolled yet.")).to_be_visible()
    page.get_by_role("button", name="Save Ana Ruiz").click()
    expect(page.get_by_text("Ana Ruiz is enrolled")).to_be_visible()

    page.get_by_role("link", name="Try it in Verify").click()
    expect(camera).to_have_attribute("data-status", "live")
    expect(camera).to_have_attribute("data-labels", "Ana Ruiz")
    expect(camera).to_have_attribute("data-faces", "match")
    expect(page.locator(".robi-headline")).to_contain_text("Ana Ruiz")
    expect(page.get_by_text(re.compile(r"detect .* ms · embed .* ms · search .* ms"))).to_be_visible()

    page.goto(f"{server.url}/people?person=ana-ruiz")
    page.get_by_role("button", name="More").click()
    page.get_by_text("Erase", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Erase").click()
    expect(page.get_by_text("The person with ID ana-ruiz was erased")).to_be_visible()
    expect(page.get_by_text("0 left in the ledger, 0 in Qdrant, 0 in the cache.")).to_be_visible()

    assert httpx.get(f"{server.url}/api/v1/users/ana-ruiz").status_code == 404


def test_an_erased_person_is_unknown_to_a_camera_that_was_on_all_the_time(server: Server, page: Page) -> None:
    photos = demo_photos()
    for user_id, photo in (("eileen", photos[2]), ("tom", photos[1])):
        files = {"images": (photo.path.name, photo.path.read_bytes(), "image/png")}
        enrolled = httpx.post(
            f"{server.url}/api/v1/enroll", data={"user_id": user_id}, files=files, timeout=30
        )
        assert enrolled.status_code == 201
    page.goto(f"{server.url}/verify")
    camera = page.locator(".camera")
    expect(camera).to_have_attribute("data-labels", "eileen")
    assert httpx.delete(f"{server.url}/api/v1/users/eileen").json()["tiers"] == {
        "ledger": 0,
        "qdrant": 0,
        "faiss": 0,
    }
    expect(camera).to_have_attribute("data-labels", "Not recognised")
    expect(camera).to_have_attribute("data-faces", "unknown")
    expect(page.locator(".robi-headline")).to_contain_text("Not recognised")


def test_somebody_already_enrolled_is_found_before_saving(peopled: Server, page: Page) -> None:
    page.goto(f"{peopled.url}/enroll")
    page.get_by_label("Name").fill("Somebody Else")
    expect(page.get_by_text(re.compile("photos? looks? like Eileen Collins"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"Similarity 0\.\d\d"))).to_be_visible()
    expect(
        page.get_by_role("button", name=re.compile("Yes: add .* photos? to Eileen Collins"))
    ).to_be_visible()
    expect(page.get_by_role("button", name="No: enroll Somebody Else as somebody else")).to_be_enabled()
    expect(page.get_by_role("button", name="Save")).to_have_count(0)


def test_the_demo_gallery_is_one_click_away(server: Server, page: Page) -> None:
    page.goto(server.url)
    page.get_by_role("button", name="Load the demo gallery").click()
    expect(page.get_by_text("8 people of the demo gallery enrolled")).to_be_visible()
    expect(page.get_by_role("link", name="Ready · 8 people")).to_be_visible()
    assert httpx.get(f"{server.url}/users").json()["users"][0]["name"] == "Demo Person 1"


def test_what_the_api_enrolls_the_dashboard_finds_while_typing(peopled: Server, page: Page) -> None:
    page.goto(f"{peopled.url}/people")
    expect(page.get_by_role("link", name="Tom Hanks")).to_be_visible()
    page.get_by_placeholder("Name or ID").press_sequentially("colli")
    expect(page.get_by_role("link", name="Tom Hanks")).to_have_count(0)
    expect(page.get_by_role("link", name="Eileen Collins")).to_be_visible()


def test_every_face_of_a_photo_is_checked(peopled: Server, page: Page) -> None:
    page.goto(f"{peopled.url}/verify")
    page.get_by_role("tab", name="Photo").click()
    page.locator("input[type=file]").set_input_files(str(demo_photos()[0].path))
    expect(page.get_by_alt_text("The photo with 6 faces marked")).to_be_visible()
    expect(page.locator(".robi-headline")).to_have_count(6)


def test_a_person_is_renamed(server: Server, page: Page) -> None:
    portrait = demo_photos()[2].path
    files = {"images": (portrait.name, portrait.read_bytes(), "image/png")}
    data = {"user_id": "p-1", "name": "Wrong Name"}
    assert httpx.post(f"{server.url}/api/v1/enroll", data=data, files=files, timeout=30).status_code == 201
    page.goto(f"{server.url}/people?person=p-1")
    page.get_by_role("button", name="More").click()
    page.get_by_text("Rename", exact=True).click()
    page.get_by_role("dialog").get_by_label("Name").fill("Right Name")
    page.get_by_role("dialog").get_by_label("Name").press("Enter")
    expect(page.get_by_text("Wrong Name is now called Right Name.")).to_be_visible()
    expect(page.get_by_role("heading", name="Right Name")).to_be_visible()
    assert httpx.get(f"{server.url}/api/v1/users/p-1").json()["name"] == "Right Name"


def test_a_deep_link_opens_a_person(peopled: Server, page: Page) -> None:
    page.goto(f"{peopled.url}/people?person=tom-hanks")
    expect(page.get_by_role("heading", name="Tom Hanks")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Tom Hanks")).to_be_visible()
    page.get_by_role("link", name="All people").click()
    expect(page.get_by_role("link", name="Eileen Collins")).to_be_visible()
