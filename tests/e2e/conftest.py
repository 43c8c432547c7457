"""A real Robi process and a real browser whose camera plays a film made of one real photo."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from core.services.demo import demo_photos

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
HOW_TO = "No Chromium was found: apt-get install chromium, or set CHROMIUM to its path."
expect.set_options(timeout=15_000)  # a machine that is busy with other things is no fault
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@dataclass(frozen=True)
class Server:
    url: str
    data_dir: Path
    process: subprocess.Popen[bytes]
    log: Path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails tells what its servers have logged: a page says no more than where to look."""
    report = yield
    if report.failed and call.when == "call":
        for running in getattr(item, "funcargs", {}).values():
            if isinstance(running, Server) and running.log.exists():
                report.sections.append(("the server's log", running.log.read_text()[-6000:]))
    return report


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(data_dir: Path, **environment: str) -> Server:
    """`python -m dashboard` on a free port; returns once it answers `/health`."""
    port = environment.get("ROBI_PORT") or str(_free_port())
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir.parent / f"{data_dir.name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "dashboard"],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                **environment,
                "ROBI_PORT": port,
                "ROBI_DATA_DIR": str(data_dir),
                "PYTHONUNBUFFERED": "1",
            },
        )
    server = Server(f"http://127.0.0.1:{port}", data_dir, process, log)
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{server.url}/health", timeout=2) as answer:
                if answer.status == 200:
                    return server
        except OSError:
            time.sleep(0.1)
    stop_server(server)
    raise RuntimeError(f"Robi did not start:\n{log.read_text()}")


def stop_server(server: Server) -> None:
    server.process.terminate()
    try:
        server.process.wait(15)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A Robi with an empty gallery."""
    running = start_server(tmp_path / "data")
    yield running
    stop_server(running)


@pytest.fixture(scope="session")
def peopled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Robi that knows Eileen Collins and Tom Hanks; tests must leave it as it is."""
    running = start_server(tmp_path_factory.mktemp("peopled") / "data")
    _, hanks, astronaut = demo_photos()
    for user_id, name, photo in (
        ("eileen-collins", "Eileen Collins", astronaut.path),
        ("tom-hanks", "Tom Hanks", hanks.path),
    ):
        with photo.open("rb") as file:
            answer = httpx.post(
                f"{running.url}/api/v1/enroll",
                data={"user_id": user_id, "name": name},
                files={"images": (photo.name, file, "image/png")},
                timeout=30,
            )
        assert answer.status_code == 201, answer.text
    yield running
    stop_server(running)


@pytest.fixture(scope="session")
def chromium() -> str:
    for path in (os.environ.get("CHROMIUM", ""), *CHROMIUM):
        if path and Path(path).exists():
            return path
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(HOW_TO)
    pytest.skip(HOW_TO)


def film(path: Path, frames: int = 90) -> Path:
    """A motion-JPEG of the public-domain astronaut portrait, moving and turning a little.

    The portrait is held still for stretches, so that an enrolling camera finds moments to take photos,
    and squeezed sideways and lengthways in turn, which changes the pose that the landmarks show.
    """
    portrait = cv2.imread(str(demo_photos()[-1].path))
    portrait = cv2.resize(portrait, (640, 640))[0:480]
    height, width = portrait.shape[:2]
    out = io.BytesIO()
    for number in range(frames):
        phase = 2 * np.pi * number / frames
        source = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
        lean = 14 * np.sin(phase)
        target = source + np.float32([[lean, 0], [-lean / 2, lean / 2], [lean / 2, 0], [-lean, lean / 3]])
        frame = cv2.warpPerspective(
            portrait,
            cv2.getPerspectiveTransform(source, target),
            (width, height),
            borderMode=cv2.BORDER_REFLECT,
        )
        out.write(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    path.write_bytes(out.getvalue())
    return path


@pytest.fixture(scope="session")
def launch(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Browser]]:
    """Starts a browser whose camera is the film; `camera=False` leaves permission to the context."""
    clip = film(tmp_path_factory.mktemp("camera") / "astronaut.mjpeg")
    with sync_playwright() as playwright:
        browsers: dict[tuple[bool, int], Browser] = {}

        def start(camera: bool = True, cameras: int = 1) -> Browser:
            if (camera, cameras) not in browsers:
                devices = f"=device-count={cameras}" if cameras > 1 else ""
                args = ["--no-sandbox", f"--use-fake-device-for-media-stream{devices}"]
                if cameras == 1:  # of several each shows a picture of its own
                    args.append(f"--use-file-for-fake-video-capture={clip}")
                allow = ["--use-fake-ui-for-media-stream"] if camera else []
                browsers[camera, cameras] = playwright.chromium.launch(
                    executable_path=chromium, headless=True, args=[*args, *allow]
                )
            return browsers[camera, cameras]

        yield start
        for browser in browsers.values():
            browser.close()


@pytest.fixture
def context(launch: Callable[..., Browser]) -> Iterator[BrowserContext]:
    made = launch().new_context(viewport=DESKTOP, permissions=["camera"])
    made.set_default_timeout(20_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def denied(launch: Callable[..., Browser]) -> Iterator[Page]:
    """A page of a browser in which the camera is not allowed."""
    context = launch(camera=False).new_context(viewport=DESKTOP)
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()
