"""Pictures of every page for people to look at: `python -m tests.e2e.screenshots FOLDER [word …]`.

Light and dark, desktop and phone, empty and full, with a camera and with the camera denied. Words choose
the scenes whose names contain one of them.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from core.services.demo import demo_photos
from tests.e2e.conftest import CHROMIUM, film, start_server, stop_server

PAGES = ("", "enroll", "verify", "people", "events", "strategies", "monitoring", "calibration", "settings")
SIZES = {"desktop": {"width": 1280, "height": 1000}, "phone": {"width": 390, "height": 1300}}
GROUP, HANKS, ASTRONAUT = (str(photo.path) for photo in demo_photos())


def settle(page: Page, ms: int = 1200) -> None:
    page.get_by_role("heading", level=1).first.wait_for()
    page.wait_for_timeout(ms)


def choose_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()
    page.wait_for_timeout(700)


def verify_photo(page: Page) -> None:
    choose_tab(page, "Photo")
    page.locator("input[type=file]").set_input_files(GROUP)
    page.wait_for_timeout(2500)


def enroll_files(page: Page) -> None:
    choose_tab(page, "Upload")
    page.get_by_label("Name").fill("Tom the Second")
    page.locator("input[type=file]").set_input_files([HANKS, GROUP, __file__])
    page.wait_for_timeout(3000)


def enroll_live(page: Page) -> None:
    page.get_by_label("Name").fill("Ana Ruiz")
    page.wait_for_timeout(4000)


def run_probes(page: Page) -> None:
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Who supplied the winner").wait_for(timeout=60_000)
    page.wait_for_timeout(1500)


def running_probes(page: Page) -> None:
    page.get_by_text("What to compare").click()
    page.get_by_role("button", name="100", exact=True).last.click()
    page.get_by_text("1000", exact=True).click()
    page.wait_for_timeout(800)
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("button", name="Cancel").wait_for()
    page.wait_for_timeout(1500)


def chosen_probes(page: Page) -> None:
    page.get_by_text("What to compare").click()
    page.get_by_text("Last checks").click()
    page.wait_for_timeout(800)
    page.get_by_text("Index parameters").click()
    page.wait_for_timeout(500)


def kept_runs(page: Page) -> None:
    for _ in range(2):
        run_probes(page)
    choose_tab(page, "Kept runs")
    page.wait_for_timeout(800)


def use_setting(page: Page) -> None:
    run_probes(page)
    page.get_by_role("combobox", name="Setting").first.click()  # the recommended one may be in use already
    page.get_by_role("option", name="Qdrant only").first.click()
    page.get_by_role("button", name="Use this setting").click()
    page.wait_for_timeout(1000)


def calibrate(page: Page) -> None:
    page.get_by_role("button", name="Measure").click()
    page.get_by_text("Measured just now").wait_for(timeout=60_000)
    choose_tab(page, "People")
    page.get_by_text("Weakest templates").wait_for()


def compare_photo(page: Page) -> None:
    choose_tab(page, "One photo")
    page.locator("input[type=file]").set_input_files(ASTRONAUT)
    page.wait_for_timeout(2500)


def erase_dialog(page: Page) -> None:
    page.get_by_role("button", name="More").click()
    page.get_by_text("Erase", exact=True).click()
    page.wait_for_timeout(800)


def enroll_done(page: Page) -> None:
    enroll_live(page)
    page.get_by_role("button", name="No: enroll Ana Ruiz as somebody else").click()
    page.get_by_text("is enrolled").wait_for()
    page.wait_for_timeout(500)


def receipt(page: Page) -> None:
    page.get_by_role("button", name="More").click()
    page.get_by_text("Erase", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Erase").click()
    page.get_by_text("was erased").wait_for()
    page.wait_for_timeout(800)


def add_shot(page: Page) -> None:
    choose_tab(page, "Take a photo")
    page.get_by_role("button", name="Take Photo").click()
    page.wait_for_timeout(2500)


def one_to_one(page: Page) -> None:
    page.get_by_text("One person").click()
    page.wait_for_timeout(800)


def wait(ms: int) -> Callable[[Page], None]:
    return lambda page: page.wait_for_timeout(ms)


Scene = tuple[str, str, Callable[[Page], None]]
EMPTY: list[Scene] = [(f"empty-{path or 'overview'}", path, wait(0)) for path in PAGES]
EMPTY += [("empty-enroll-live", "enroll", enroll_live)]
FULL: list[Scene] = [(f"full-{path or 'overview'}", path, wait(0)) for path in PAGES if path != "verify"]
FULL += [
    ("full-verify-live", "verify", wait(3500)),
    ("full-verify-photo", "verify", verify_photo),
    ("full-person", "people?person=eileen-collins", wait(300)),
    ("full-person-erase", "people?person=eileen-collins", erase_dialog),
    ("full-person-unknown", "people?person=nobody", wait(300)),
    ("full-enroll-files", "enroll", enroll_files),
    ("full-enroll-live-twin", "enroll", enroll_live),
    ("full-strategies-run", "strategies", run_probes),
    ("full-strategies-choices", "strategies", chosen_probes),
    ("full-strategies-kept", "strategies", kept_runs),
    ("full-strategies-use", "strategies", use_setting),
    ("full-strategies-running", "strategies", running_probes),
    ("full-strategies-photo", "strategies", compare_photo),
]
FULL += [
    ("full-enroll-shot", "enroll", add_shot),
    ("full-verify-one-to-one", "verify", one_to_one),
    ("full-monitoring-busy", "monitoring", wait(1500)),
    ("full-calibration-people", "calibration", calibrate),
    ("full-events-busy", "events", wait(300)),
    ("full-enroll-done", "enroll", enroll_done),
    ("full-person-receipt", "people?person=ana-ruiz", receipt),
]
DEGRADED: list[Scene] = [
    ("degraded-overview", "", wait(500)),
    ("degraded-verify", "verify", wait(3500)),
    ("degraded-monitoring", "monitoring", wait(500)),
]
DENIED: list[Scene] = [("denied-verify", "verify", wait(800)), ("denied-enroll", "enroll", wait(800))]


def shoot(browser: Browser, url: str, scenes: list[Scene], folder: Path, only: list[str]) -> None:
    for scheme in ("light", "dark"):
        for size, viewport in SIZES.items():
            for name, path, act in scenes:
                shot = f"{name}-{size}-{scheme}"
                if only and not any(word in shot for word in only):
                    continue
                context = browser.new_context(viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
                context.set_default_timeout(15_000)
                page = context.new_page()
                page.goto(f"{url}/{path}")
                settle(page)
                act(page)
                page.screenshot(path=folder / f"{shot}.png")
                context.close()
                print(shot, flush=True)


def main(folder: Path, only: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    chromium = os.environ.get("CHROMIUM") or next(path for path in CHROMIUM if Path(path).exists())
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        clip = film(Path(scratch) / "astronaut.mjpeg")
        arguments = [
            "--no-sandbox",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={clip}",
        ]
        allowed = playwright.chromium.launch(
            executable_path=chromium, args=[*arguments, "--use-fake-ui-for-media-stream"]
        )
        denied = playwright.chromium.launch(executable_path=chromium, args=arguments)
        server = start_server(Path(scratch) / "data")
        try:
            shoot(allowed, server.url, EMPTY, folder, only)
            page = allowed.new_page()
            page.goto(server.url)
            page.get_by_role("button", name="Load the demo gallery").click()
            page.get_by_text("of the demo gallery enrolled").wait_for()
            page.close()
            shoot(allowed, server.url, FULL, folder, only)
            shoot(denied, server.url, DENIED, folder, only)
        finally:
            stop_server(server)
        server = start_server(Path(scratch) / "data", QDRANT_URL="http://127.0.0.1:1")
        try:
            shoot(allowed, server.url, DEGRADED, folder, only)
        finally:
            stop_server(server)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m tests.e2e.screenshots FOLDER [word …]")
    main(Path(sys.argv[1]), sys.argv[2:])
