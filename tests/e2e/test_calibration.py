"""An engineer measures, changes the threshold with a reason, sees a decision change, and takes it back."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable

import cv2
import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from core.services.demo import demo_photos
from tests.e2e.conftest import PHONE, Server

_, HANKS, ASTRONAUT = demo_photos()
TURNS = ((0, 1.0, 1.0), (4, 0.9, 0.85), (-5, 1.05, 0.9))


def turned(path: str, angle: float, scale: float, gain: float) -> bytes:
    """Another picture of the same person: turned, scaled and lit differently."""
    image = cv2.imread(path)
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale)
    other = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    return cv2.imencode(".jpg", cv2.convertScaleAbs(other, alpha=gain))[1].tobytes()


def enroll(server: Server) -> None:
    for user_id, photo in (("tom", HANKS), ("eileen", ASTRONAUT)):
        pictures = [turned(str(photo.path), *turn) for turn in TURNS]
        answer = httpx.post(
            f"{server.url}/api/v1/enroll",
            data={"user_id": user_id, "name": user_id.title()},
            files=[("images", (f"{n}.jpg", data, "image/jpeg")) for n, data in enumerate(pictures)],
            timeout=60,
        )
        assert answer.status_code == 201, answer.text


def decision(server: Server) -> str:
    probe = turned(str(ASTRONAUT.path), 12, 0.8, 0.7)
    answer = httpx.post(f"{server.url}/api/v1/verify", files={"image": ("probe.jpg", probe)}, timeout=30)
    return str(answer.json()["decision"])


def measure(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/calibration")
    page.get_by_role("button", name="Measure", exact=True).click()
    expect(page.get_by_text("Equal error rate", exact=True)).to_be_visible(timeout=30_000)


def test_a_threshold_is_changed_with_a_reason_seen_to_matter_and_undone(server: Server, page: Page) -> None:
    enroll(server)
    assert decision(server) == "match"
    measure(server, page)
    expect(page.get_by_text("2 people · 6 templates · 6 genuine comparisons")).to_be_visible()

    handle = page.get_by_role("slider", name="New threshold")
    handle.focus()
    handle.press("End")
    expect(page.get_by_text("The threshold must be between 0 and 1.")).to_be_visible()
    expect(page.get_by_role("button", name="Apply 1.000…")).to_be_disabled()
    for _ in range(2):
        handle.press("ArrowLeft")
    expect(page.get_by_text(re.compile(r"1 decision of the last 30 days would change"))).to_be_visible()
    page.get_by_role("button", name="Apply 0.998…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Apply").click()
    expect(dialog.get_by_text("A reason of 1 to 300 characters is needed.")).to_be_visible()
    dialog.get_by_role("textbox", name="Reason").fill("Only the very same picture may pass.")
    dialog.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("The threshold is 0.998 now; it was 0.400.")).to_be_visible()
    expect(page.get_by_text("Only the very same picture may pass.")).to_be_visible()
    assert decision(server) != "match"

    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text(re.compile("In effect now"))).to_be_visible()
    assert decision(server) == "match"


def test_long_names_are_read_in_whole_where_people_are_merged(server: Server, page: Page) -> None:
    enroll(server)
    name = "Eileen Maximiliane Ferdinanda de la Fuente Hernandez Collins"
    httpx.patch(f"{server.url}/api/v1/users/eileen", json={"name": name})
    measure(server, page)
    page.get_by_role("tab", name="People").click()
    link = page.get_by_role("main").get_by_role("link", name=re.compile(name)).first
    expect(link).to_be_visible()
    assert link.evaluate("e => [e, ...e.querySelectorAll('*')].every(n => n.scrollWidth <= n.clientWidth)")


def test_an_evaluation_set_shows_its_worst_errors_and_is_forgotten(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/calibration")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, photo in (("tom", HANKS), ("eileen", ASTRONAUT)):
            for number, turn in enumerate(TURNS):
                archive.writestr(f"set/{name}/{number}.jpg", turned(str(photo.path), *turn))
        archive.writestr("set/eileen/wrong.jpg", turned(str(HANKS.path), *TURNS[0]))
        archive.writestr("set/readme.txt", "no picture")
    page.locator("input[type=file]").set_input_files(
        {"name": "set.zip", "mimeType": "application/zip", "buffer": packed.getvalue()}
    )
    page.get_by_role("button", name="Measure this set").click()
    expect(page.get_by_text("2 people, 7 images")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("Different people, 1.00")).to_be_visible()
    expect(page.locator("img[alt*='eileen/wrong']").first).to_be_visible()
    page.get_by_role("button", name="Forget this set").click()
    expect(page.get_by_role("button", name="Measure this set")).to_be_disabled()
    assert httpx.get(f"{server.url}/users").json()["users"] == []


def test_a_point_of_the_map_opens_its_person(server: Server, page: Page) -> None:
    enroll(server)
    measure(server, page)
    page.get_by_role("tab", name="Map").click()
    plot = page.locator(".js-plotly-plot")
    expect(plot.locator("canvas").first).to_be_attached(timeout=30_000)
    # The same photo three times is almost one point: the middle of the first trace's points.
    place = plot.evaluate(
        """e => {
            const points = e._fullData[0], {xaxis, yaxis} = e._fullLayout, box = e.getBoundingClientRect();
            return {x: box.x + xaxis._offset + xaxis.l2p(points.x[0]),
                    y: box.y + yaxis._offset + yaxis.l2p(points.y[0])};
        }"""
    )
    page.mouse.move(place["x"], place["y"])
    page.mouse.click(place["x"], place["y"])
    expect(page).to_have_url(re.compile(r"/people\?person=(tom|eileen)"))
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Tom|Eileen"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone_once_measured(
    server: Server, launch: Callable[..., Browser], scheme: str
) -> None:
    enroll(server)
    context = launch().new_context(viewport=PHONE, color_scheme=scheme)
    context.set_default_timeout(20_000)
    page = context.new_page()
    measure(server, page)
    wide = {}
    tabs = {
        "Threshold": "What it costs",
        "Error curves": "1:N errors",
        "People": "Weakest templates",
        "Map": "principal components",
        "Evaluation set": "one folder a person",
    }
    for name, seen in tabs.items():
        page.get_by_role("tab", name=name).click()
        expect(page.get_by_text(seen).first).to_be_visible()
        page.wait_for_load_state("networkidle")
        wide[name] = page.evaluate(
            "Math.max(document.documentElement.scrollWidth,"
            " ...[...document.querySelectorAll('section, main')].map(e => e.scrollWidth))"
        )
    context.close()
    assert {name: width for name, width in wide.items() if width > PHONE["width"]} == {}
