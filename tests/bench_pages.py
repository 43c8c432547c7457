"""How soon the engineers' pages are there, in a real browser, with a large gallery and weeks of history.

    python -m tests.bench_pages [--people 20000] [--rounds 5]

A page is *open* when all that a desktop's first screen shows is drawn and answers: every tile has its number,
every figure its lines, and the controls are there. *Whole* is when the rest is drawn too, down to the foot.
Monitoring is also opened by an address that asks for all of its figures. Clocks start when the browser is
told the address, in a profile that never saw Robi (first visit) and in another tab of it (again).

Server and browser share the machine's cores. Nothing is timed before the server is at rest: the cache is
loaded and Qdrant's index built. Settings, which shows nothing measured, is what a page takes at least.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import httpx
import numpy as np
from playwright.sync_api import Browser, sync_playwright

from core.domain.events import NewEvent
from core.domain.search import Strategy
from core.faces.pack import ensure_pack
from core.ledger.history import KEPT
from core.ledger.ledger import Ledger
from core.metrics.gauges import GaugeKey
from core.metrics.histogram import bucket_of
from core.metrics.measured import Measured, to_json
from dashboard.monitoring import figures
from tests.e2e.conftest import CHROMIUM, DESKTOP, Server, start_server, stop_server
from tests.galleries import Gallery, fill

EACH = 5
DAYS = 30
EVENTS = 100_000
SEARCHES = 600  # in each row of the history


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
            rest(server)
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
        ledger.events.record(
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
    with ledger.database.write() as connection:
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
        row.gauge(GaugeKey.kept(name), float(random.uniform(0, 50)))
    return json.dumps(to_json(row))


def rest(server: Server) -> None:
    """Wait until the cache is loaded and no index is being built."""
    for _ in range(600):
        health = httpx.get(f"{server.url}/health", timeout=30).json()
        edge = httpx.get(f"{server.url}/api/v1/performance/qdrant", timeout=30).json()
        parts = health["components"].values()
        if (
            all(part["status"] == "ok" for part in parts)
            and "HNSW" in str(edge["index"])
            and not edge["building"]
        ):
            return
        time.sleep(1)
    raise RuntimeError("Robi did not come to rest within ten minutes")


def measure(server: Server, rounds: int) -> None:
    path = next(path for path in CHROMIUM if Path(path).exists())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        calibrate(browser, server)
        seconds: dict[str, list[tuple[float, ...]]] = {name: [] for name in PAGES}
        for number in range(rounds + 1):
            for name, page in PAGES.items():
                spent = opened(browser, server.url, page)
                if number:  # in the first round the server itself imports what a page needs
                    seconds[name].append(spent)
        browser.close()
    print(f"{'medians of ' + str(rounds):28} first visit: open  whole      again: open  whole")
    for name, times in seconds.items():
        first, first_whole, again, again_whole = (
            statistics.median(column) for column in zip(*times, strict=True)
        )
        print(f"{name:28} {first:17.2f} {first_whole:6.2f} {again:16.2f} {again_whole:6.2f}")


def calibrate(browser: Browser, server: Server) -> None:
    page = browser.new_page(viewport=DESKTOP)
    page.goto(f"{server.url}/calibration")
    page.get_by_role("button", name="Measure").click()
    page.get_by_text("Equal error rate").wait_for(timeout=180_000)
    page.close()


def opened(browser: Browser, url: str, what: Opened) -> tuple[float, ...]:
    """Seconds until open and until whole: at a first visit, and again."""
    context = browser.new_context(viewport=DESKTOP)
    spent = []
    for _ in range(2):
        page = context.new_page()
        started = time.perf_counter()
        page.goto(url + what.path, wait_until="commit")
        for shown in (what.first_screen, what.whole):
            page.wait_for_function(DRAWN, arg=dataclasses.asdict(shown), polling=20, timeout=60_000)
            spent.append(time.perf_counter() - started)
        page.close()
    context.close()
    return tuple(spent)


DRAWN = """({words, tiles, figures, controls}) => {
    const all = (selector) => [...document.querySelectorAll(selector)];
    const text = document.body.textContent;
    const inked = (canvas) => canvas.isInked ||= canvas.width > 0 &&
        canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte);
    return words.every((word) => text.includes(word))
        && all('[data-testid=stMetricValue]').filter((tile) => tile.textContent.trim()).length >= tiles
        && controls.every((selector) => document.querySelector(selector))
        && all('[data-testid=stEChartsChart] canvas').filter(inked).length >= figures;
}"""


@dataclass(frozen=True, slots=True)
class Shown:
    """What is on the screen: words, tiles with a number, figures with ink, controls by their selector."""

    words: tuple[str, ...]
    tiles: int = 0
    figures: int = 0
    controls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """A page, and what tells that it is open and whole."""

    path: str
    first_screen: Shown
    whole: Shown


RANGE, PERCENTILE, HANDLE = "[role=combobox]", "[role=radio]", "[role=slider], input[type=range]"
ROWS = [name for name in figures.ROWS if name != "GPUs"]
ALL_FIGURES = urlencode([("figures", name) for name in ROWS])


def monitoring(query: str, more: int = 0) -> Opened:
    seen = Shown(("Load", "Search time, p95", "Components", "Targets"), 8, 2, (RANGE, PERCENTILE))
    whole = Shown(("Tiers", "Times", "Hardware", "Slowest requests"), 8, 2 + more, (RANGE, PERCENTILE))
    return Opened(f"/monitoring{query}", seen, whole)


PAGES: Mapping[str, Opened] = {
    "Settings": Opened("/settings", Shown(("FACE_THRESHOLD",)), Shown(("FACE_THRESHOLD", "Hardware"))),
    "Strategies": Opened("/strategies", Shown(("What to compare",)), Shown(("What to compare", "Kept runs"))),
    "Monitoring, 15 minutes": monitoring(""),
    "Monitoring, 30 days": monitoring("?range=Last+30+days"),
    "Monitoring, all figures": monitoring(f"?{ALL_FIGURES}", 2 * len(ROWS)),
    "Calibration, measured": Opened(
        "/calibration",
        Shown(("How far to trust these figures", "How alike faces are"), 5, 1, (HANDLE,)),
        Shown(("By target", "What it costs", "Changes", "JSON"), 5, 1, (HANDLE,)),
    ),
}


if __name__ == "__main__":
    main()
