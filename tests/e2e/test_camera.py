"""The camera component: it keeps running, and says in words when it cannot."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.e2e.conftest import DESKTOP, PHONE, ROOT, Server, start_server, stop_server


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
    page.get_by_text("Details").click()
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


def test_a_camera_that_stops_says_so_and_starts_again_by_itself(peopled: Server, page: Page) -> None:
    page.goto(f"{peopled.url}/verify")
    camera = page.locator(".camera")
    expect(camera).to_have_attribute("data-labels", "Eileen Collins")
    page.evaluate(
        """() => {  // no camera until `devices` says that one was plugged in
            const media = navigator.mediaDevices, open = media.getUserMedia.bind(media);
            let gone = true;
            media.getUserMedia = async (wanted) => {
                if (gone) throw new DOMException("unplugged", "NotFoundError");
                return open(wanted);
            };
            window.plugIn = () => { gone = false; media.dispatchEvent(new Event("devicechange")) };
        }"""
    )
    page.locator("video").evaluate(
        "video => video.srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))"
    )
    expect(page.get_by_text("The camera stopped")).to_be_visible()
    expect(page.locator(".st-key-verify_verdict")).to_be_hidden()
    expect(page.get_by_role("button", name="Use a photo instead")).to_be_visible()
    expect(page.get_by_text("No camera found")).to_be_visible()  # it looks for one by itself
    page.evaluate("window.plugIn()")
    expect(camera).to_have_attribute("data-labels", "Eileen Collins")
    expect(page.locator(".st-key-verify_verdict")).to_be_visible()


def test_a_picture_that_froze_is_nobody(peopled: Server, page: Page) -> None:
    page.goto(f"{peopled.url}/verify")
    camera = page.locator(".camera")
    expect(camera).to_have_attribute("data-labels", "Eileen Collins")
    page.locator("video").evaluate("video => video.pause()")
    expect(page.get_by_text("The camera sends no picture")).to_be_visible()
    expect(camera).to_have_attribute("data-labels", "")
    expect(page.locator(".st-key-verify_verdict")).to_be_hidden()
    page.locator("video").evaluate("video => video.play()")
    expect(camera).to_have_attribute("data-labels", "Eileen Collins")


def test_a_hidden_tab_claims_nothing_and_goes_on_when_it_is_back(peopled: Server, page: Page) -> None:
    page.goto(f"{peopled.url}/verify")
    camera = page.locator(".camera")
    expect(camera).to_have_attribute("data-labels", "Eileen Collins")
    hide(page, True)
    expect(camera).to_have_attribute("data-status", "paused")
    expect(camera).to_have_attribute("data-labels", "")
    expect(page.locator(".st-key-verify_verdict")).to_be_hidden()
    hide(page, False)
    expect(camera).to_have_attribute("data-labels", "Eileen Collins")


def hide(page: Page, hidden: bool) -> None:
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


NEVER = "navigator.mediaDevices.getUserMedia = () => new Promise(() => {})"
EMPTY = "navigator.mediaDevices.getUserMedia = async () => document.createElement('canvas').captureStream(0)"


@pytest.mark.parametrize(
    ("camera", "said"),
    [(NEVER, "The camera has not started"), (EMPTY, "The camera sends no picture")],
    ids=["a question nobody answers", "no frames"],
)
def test_a_camera_that_does_not_start_says_so(peopled: Server, page: Page, camera: str, said: str) -> None:
    page.add_init_script(camera)
    page.goto(f"{peopled.url}/verify")
    expect(page.get_by_text("Starting the camera")).to_be_visible()
    expect(page.get_by_text(said)).to_be_visible(timeout=20_000)
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    page.get_by_role("button", name="Use a photo instead").click()
    expect(page.get_by_role("tab", name="Photo")).to_have_attribute("aria-selected", "true")


def test_a_server_that_does_not_answer_leaves_no_verdict(peopled: Server, page: Page) -> None:
    page.goto(f"{peopled.url}/verify")
    camera, card = page.locator(".camera"), page.locator(".st-key-verify_live")
    expect(camera).to_have_attribute("data-labels", "Eileen Collins")
    expect(camera.locator(".verdict")).to_have_text("Eileen Collins match")
    ready = page.locator(".st-key-status_line").get_by_role("link", name="Ready")
    expect(ready).to_be_visible()
    os.kill(peopled.process.pid, signal.SIGSTOP)
    try:
        expect(page.get_by_text("Robi does not answer")).to_be_visible()
        expect(camera).to_have_attribute("data-labels", "")
        expect(camera.locator(".verdict")).to_have_text("")
        expect(card.get_by_text("Eileen Collins").first).to_be_hidden()
        expect(card.get_by_text("No connection to Robi")).to_be_visible()
        expect(ready).to_be_hidden()
    finally:
        os.kill(peopled.process.pid, signal.SIGCONT)
    expect(camera).to_have_attribute("data-labels", "Eileen Collins", timeout=20_000)
    expect(ready).to_be_visible(timeout=20_000)
    expect(card.get_by_text("No connection to Robi")).to_be_hidden()


def test_no_page_says_ready_when_the_server_does_not_answer(peopled: Server, page: Page) -> None:
    page.goto(f"{peopled.url}/people")
    line = page.locator(".st-key-status_line")
    expect(line.get_by_role("link", name="Ready")).to_be_visible()
    os.kill(peopled.process.pid, signal.SIGSTOP)
    try:
        expect(line.get_by_text("No connection to Robi")).to_be_visible(timeout=20_000)
        expect(line.get_by_role("link", name="Ready")).to_be_hidden()
    finally:
        os.kill(peopled.process.pid, signal.SIGCONT)
    expect(line.get_by_role("link", name="Ready")).to_be_visible(timeout=20_000)


def test_the_chosen_camera_stays_chosen(peopled: Server, launch: Callable[..., Browser]) -> None:
    context = launch(cameras=3).new_context(viewport=DESKTOP, permissions=["camera"])
    context.set_default_timeout(20_000)
    page = context.new_page()

    def used() -> str:
        expect(page.locator(".camera")).to_have_attribute("data-status", "live")
        return page.locator("video").evaluate("video => video.srcObject.getVideoTracks()[0].label")

    page.goto(f"{peopled.url}/verify")
    first = used()
    page.locator(".camera select").select_option(index=1)
    expect(page.locator(".camera select option:checked")).not_to_have_text(first)
    chosen = used()
    assert chosen != first
    hide(page, True)
    expect(page.locator(".camera")).to_have_attribute("data-status", "paused")
    hide(page, False)
    assert used() == chosen
    page.reload()
    assert used() == chosen
    page.get_by_role("link", name="Enroll").click()
    expect(page.get_by_role("heading", name="Enroll")).to_be_visible()
    expect(page.locator(".camera.mirrored")).to_be_visible()
    assert used() == chosen
    context.close()


@pytest.mark.parametrize(("size", "least"), [(DESKTOP, 24), (PHONE, 44)], ids=["mouse", "finger"])
def test_whatever_is_pressed_on_verify_is_large_enough(
    peopled: Server, page: Page, size: ViewportSize, least: int
) -> None:
    page.set_viewport_size(size)
    page.goto(f"{peopled.url}/verify")
    expect(page.locator(".camera")).to_have_attribute("data-status", "live")
    page.get_by_text("Details").click()
    expect(page.get_by_role("slider")).to_be_visible()
    helps = page.locator("button[aria-label^='Help for']:visible")
    controls = page.locator("[data-testid=stMain] :is(button, [role=tab], [role=radio], summary):visible")
    pressed = controls.and_(page.locator(":not([aria-label^='Help for'])"))
    small = [
        (element.get_attribute("aria-label") or element.inner_text(), box["height"])
        for elements, enough in ((pressed, least), (helps, 24))
        for element in elements.all()
        if (box := element.bounding_box()) and box["height"] < enough
    ]
    assert small == []


def test_labels_are_kept_apart(page: Page) -> None:
    page.set_content("<canvas></canvas>")
    page.add_script_tag(path=ROOT / "dashboard" / "shared" / "camera" / "camera_drawing.js")
    overlaps, outside = page.evaluate(
        """() => {
            const area = { x: 20, y: 10, w: 360, h: 270 };
            let [overlaps, outside, seed] = [0, 0, 7];
            const dice = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
            for (let round = 0; round < 300; round += 1) {
                const taken = [];
                const rooms = Array.from({ length: 4 }, () => {
                    const box = { x: area.x + dice() * 300, y: area.y + dice() * 200, w: 60, h: 70 };
                    return { ...place(box, 120 + dice() * 200, taken, area), h: LABEL.height };
                });
                const out = (r) => r.x < area.x || r.x + r.w > area.x + area.w + 0.01
                    || r.y < area.y || r.y + r.h > area.y + area.h;
                outside += rooms.filter(out).length;
                rooms.forEach((one, n) => {
                    overlaps += rooms.slice(n + 1).filter((other) => meet(one, other)).length;
                });
            }
            return [overlaps, outside];
        }"""
    )
    assert (overlaps, outside) == (0, 0)


def test_a_restarted_server_is_joined_again(tmp_path_factory: pytest.TempPathFactory, page: Page) -> None:
    data = tmp_path_factory.mktemp("restart") / "data"
    first = start_server(data)
    page.goto(f"{first.url}/enroll")
    camera = page.locator(".camera")
    expect(camera).to_have_attribute("data-status", "live")
    port = first.url.rsplit(":", 1)[1]
    stop_server(first)
    expect(camera.get_by_text("No connection to Robi")).to_be_visible()
    second = start_server(data, ROBI_PORT=port)
    try:
        expect(camera).to_have_attribute("data-status", "live", timeout=40_000)
    finally:
        stop_server(second)
