"""Measures the live page in a real browser on this machine: frames shown and faces checked a second.

    python -m tests.bench_live [--seconds 20] [--clients 1]

Browser and server share the machine's cores, so the figures are the lower bound of what an operator sees.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import psutil
from playwright.sync_api import Page, sync_playwright

from core.services.demo import demo_photos
from tests.e2e.conftest import CHROMIUM, DESKTOP, Server, film, start_server, stop_server


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=int, default=20)
    arguments.add_argument("--clients", type=int, default=1)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(Path(folder) / "data")
        try:
            enroll(server)
            measure(server, film(Path(folder) / "face.mjpeg"), chosen.seconds, chosen.clients)
        finally:
            stop_server(server)


def enroll(server: Server) -> None:
    photo = demo_photos()[-1].path
    answer = httpx.post(
        f"{server.url}/api/v1/enroll",
        data={"user_id": "eileen", "name": "Eileen Collins"},
        files={"images": (photo.name, photo.read_bytes())},
        timeout=30,
    )
    answer.raise_for_status()


def measure(server: Server, clip: Path, seconds: int, clients: int) -> None:
    args = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={clip}",
    ]
    path = next(path for path in CHROMIUM if Path(path).exists())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=args)
        context = browser.new_context(viewport=DESKTOP, permissions=["camera"])
        pages = [context.new_page() for _ in range(clients)]
        for page in pages:
            page.goto(f"{server.url}/verify")
            page.locator('.camera[data-labels="Eileen Collins"]').wait_for(timeout=30_000)
        watch(server, pages, seconds)
        browser.close()


def watch(server: Server, pages: list[Page], seconds: int) -> None:
    process = psutil.Process(server.process.pid)
    psutil.cpu_percent()
    process.cpu_percent()
    rates: dict[str, list[float]] = {"fps": [], "recognitions": []}
    for _ in range(seconds):
        time.sleep(1.0)
        for page in pages:
            for name, seen in rates.items():
                seen.append(float(page.locator(".camera").get_attribute(f"data-{name}") or 0))
    stages = httpx.get(f"{server.url}/stats").json()["latency"]["by_stage"]
    for name, seen in rates.items():
        low = min(seen)
        print(f"{name:14} median {statistics.median(seen):5.1f}/s   lowest second {low:5.1f}/s")
    machine, own = psutil.cpu_percent(), process.cpu_percent()
    print(f"CPU            machine {machine:.0f} %   server {own:.0f} % of one core")
    print("stages, p50 ms " + "   ".join(f"{name} {ms['p50']}" for name, ms in sorted(stages.items())))


if __name__ == "__main__":
    main()
