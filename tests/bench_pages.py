"""How soon the engineers' pages are there, in a real browser, with a large gallery and weeks of history.

    python -m tests.bench_pages [--people 20000] [--rounds 5]

Server and browser share the machine's cores. Settings, which shows nothing measured, is what a page takes
at least.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from core.faces.pack import ensure_pack
from core.ledger.history import KEPT
from core.ledger.ledger import Ledger
from core.metrics.histogram import bucket_of
from core.metrics.measured import Measured, to_json
from core.types import NewEvent, Strategy
from tests.e2e.conftest import CHROMIUM, DESKTOP, Server, start_server, stop_server
from tests.galleries import Gallery, fill

EACH = 5
DAYS = 30
EVENTS = 100_000
SEARCHES = 600  # in each row of the history

Ready = Callable[[Page], object]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "data"
        prepare(directory, chosen.people)
        server = start_server(directory)
        try:
            measure(server, chosen.rounds)
        finally:
            stop_server(server)


def prepare(directory: Path, people: int) -> None:
    pack = ensure_pack("open", directory).info
    ledger = Ledger.open(directory / "ledger.db", pack)
    fill(ledger, Gallery(people, EACH, pack.dimension))
    decide(ledger, people)
    remember(ledger)
    ledger.close()


def decide(ledger: Ledger, people: int) -> None:
    """Decisions of the last weeks."""
    random = np.random.default_rng(1)
    now = datetime.now(UTC)
    ages = np.sort(random.uniform(0, DAYS * 86_400, EVENTS))[::-1]
    for chunk in np.array_split(ages, 10):
        ledger.record(
            [
                NewEvent(
                    now - timedelta(seconds=float(age)),
                    "verified",
                    f"p{random.integers(1, people + 1)}",
                    {
                        "decision": "match",
                        "similarity": 0.7,
                        "lead": 0.4,
                        "mode": "1:N",
                        "strategy": "hybrid",
                    },
                )
                for age in chunk
            ]
        )


def remember(ledger: Ledger) -> None:
    """Every row that the history keeps."""
    random = np.random.default_rng(2)
    kinds = [measured(random) for _ in range(20)]
    now = int(time.time())
    with ledger._database.write() as connection:
        driver = connection.connection.cursor()
        for length, rows in KEPT.items():
            starts = [now - now % length - length * back for back in range(1, rows)]
            values = [(length, start, kinds[number % len(kinds)]) for number, start in enumerate(starts)]
            driver.executemany("INSERT INTO history (seconds, start, measured) VALUES (?, ?, ?)", values)


def measured(random: np.random.Generator) -> str:
    row = Measured(observed=60.0, faces=SEARCHES)
    for strategy in Strategy:
        for ms in random.gamma(2.0, 1.0, SEARCHES):
            row.strategies[strategy.value][bucket_of(float(ms))] += 1
    for stage in ("detect", "embed", "hot", "cold", "merge", "join", "enroll"):
        for ms in random.gamma(2.0, 4.0, SEARCHES):
            row.stages[stage][bucket_of(float(ms))] += 1
    for name in ("cpu_percent", "rss_mb", "coverage.faiss", "lag.qdrant", "queued.search"):
        row.gauge(name, float(random.uniform(0, 50)))
    return json.dumps(to_json(row))


def measure(server: Server, rounds: int) -> None:
    path = next(path for path in CHROMIUM if Path(path).exists())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        calibrate(browser, server)
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in PAGES}
        for _ in range(rounds):
            for name, (path_, ready) in PAGES.items():
                seconds[name].append(opened(browser, server.url + path_, ready))
        browser.close()
    for name, spent in seconds.items():
        first, again = (statistics.median(times) for times in zip(*spent, strict=True))
        print(f"{name:28} first visit {first:5.2f} s   again {again:5.2f} s   (medians of {rounds})")


def calibrate(browser: Browser, server: Server) -> None:
    page = browser.new_page(viewport=DESKTOP)
    page.goto(f"{server.url}/calibration")
    page.get_by_role("button", name="Measure").click()
    page.get_by_text("Equal error rate").wait_for(timeout=180_000)
    page.close()


def opened(browser: Browser, url: str, ready: Ready) -> tuple[float, float]:
    """Seconds from asking for the page to what it is for being on the screen.

    First in a fresh browser profile, which fetches Streamlit's and ECharts' scripts, then in a new tab.
    """
    context = browser.new_context(viewport=DESKTOP)
    spent = []
    for _ in range(2):
        page = context.new_page()
        started = time.perf_counter()
        page.goto(url, wait_until="commit")
        ready(page)
        spent.append(time.perf_counter() - started)
        page.close()
    context.close()
    return spent[0], spent[1]


def text(said: str) -> Ready:
    return lambda page: page.get_by_text(said).first.wait_for()


def charts(said: str) -> Ready:
    """A sentence, and a figure that has been drawn."""

    def ready(page: Page) -> None:
        page.get_by_text(said).first.wait_for()
        page.locator("[data-testid=stEChartsChart] canvas").first.wait_for()

    return ready


PAGES: Mapping[str, tuple[str, Ready]] = {
    "Settings": ("/settings", text("FACE_THRESHOLD")),
    "Strategies": ("/strategies", text("What to compare")),
    "Monitoring, 15 minutes": ("/monitoring", charts("Slowest requests")),
    "Monitoring, 30 days": ("/monitoring?range=Last+30+days", charts("Slowest requests")),
    "Calibration, measured": ("/calibration", charts("What it costs")),
}


if __name__ == "__main__":
    main()
