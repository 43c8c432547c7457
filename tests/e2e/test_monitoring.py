"""The monitoring page in a browser: it moves by itself, stays where it is, and helps."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import PHONE, Server, start_server, stop_server
from tests.qdrant_double import QdrantDouble


def search(server: Server, times: int) -> None:
    random = np.random.default_rng(1)
    with httpx.Client(base_url=server.url, timeout=30) as client:
        for _ in range(times):
            body = {"embedding": random.standard_normal(128).tolist()}
            assert client.post("/api/v1/search", json=body).status_code == 200


def tile(page: Page, label: str):
    return page.get_by_test_id("stMetric").filter(has_text=label).get_by_test_id("stMetricValue")


def choose(page: Page, range_: str) -> None:
    page.get_by_role("combobox", name="Time range").click()
    page.get_by_role("option", name=range_).click()


def test_numbers_move_after_searches_and_the_figures_stay_in_place(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/monitoring")
    expect(page.get_by_text("Nothing was searched in the last 15 minutes.")).to_be_visible()
    expect(tile(page, "Search time, p95")).to_have_text("–")
    canvas = page.get_by_test_id("stEChartsChart").first.locator("canvas, svg").first
    canvas.wait_for()
    canvas.evaluate("node => { node.robiMark = 'same node' }")
    search(server, 30)
    expect(tile(page, "Search time, p95")).to_have_text(re.compile(r"ms$"))
    expect(page.get_by_text("Nothing was searched")).to_have_count(0)
    page.wait_for_timeout(6_000)  # three refreshes
    assert canvas.evaluate("node => node.robiMark") == "same node"
    expect(page.get_by_text("Search, Hybrid").first).to_be_visible()


def test_a_row_of_figures_is_drawn_when_chosen_and_stays_over_a_reload(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/monitoring")
    figures = page.get_by_test_id("stEChartsChart")
    expect(figures.locator("canvas")).to_have_count(2)
    first = figures.first.locator("canvas").first
    first.evaluate("node => { node.robiMark = 'same node' }")
    page.get_by_role("button", name="Machine").click()
    expect(page.get_by_role("heading", name="Memory", exact=True)).to_be_visible()
    expect(figures.locator("canvas")).to_have_count(4)
    assert first.evaluate("node => node.robiMark") == "same node"
    expect(page).to_have_url(re.compile("figures=Machine"))
    page.reload()
    expect(page.get_by_role("heading", name="Memory", exact=True)).to_be_visible()
    page.get_by_role("button", name="Machine").click()
    expect(page.get_by_role("heading", name="Memory", exact=True)).to_have_count(0)


def test_the_range_survives_refreshes_and_a_reload(server: Server, page: Page) -> None:
    search(server, 3)
    page.goto(f"{server.url}/monitoring")
    choose(page, "Last 24 hours")
    expect(page.get_by_text("in the last 24 hours").first).to_be_visible()
    page.wait_for_timeout(5_000)
    expect(page.get_by_text("in the last 24 hours").first).to_be_visible()
    page.reload()
    expect(page.get_by_text("in the last 24 hours").first).to_be_visible()
    page.goto(f"{server.url}/monitoring")
    expect(page.get_by_text("in the last 15 minutes").first).to_be_visible()


def test_a_restart_keeps_what_was_measured(tmp_path: Path, page: Page) -> None:
    first = start_server(tmp_path / "data")
    search(first, 20)
    stop_server(first)
    second = start_server(tmp_path / "data")
    try:
        for range_ in ("5min", "24h", "30d"):
            window = httpx.get(f"{second.url}/stats", params={"range": range_}).json()["window"]
            assert window["searches"] == 20, range_
        page.goto(f"{second.url}/monitoring")
        expect(tile(page, "Search time, p95")).to_have_text(re.compile(r"ms$"))
    finally:
        stop_server(second)


def test_the_trouble_comes_first_with_the_button_that_helps(
    tmp_path: Path, launch: Callable[..., Browser]
) -> None:
    server = start_server(tmp_path / "data", QDRANT_URL="http://127.0.0.1:1")
    try:
        context = launch().new_context(viewport=PHONE)
        page = context.new_page()
        page.goto(f"{server.url}/monitoring")
        button = page.get_by_role("button", name="Reconnect now")
        expect(button).to_be_visible(timeout=20_000)
        box = button.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < PHONE["height"]
        button.click()
        expect(page.get_by_text("still does not answer")).to_be_visible(timeout=30_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        context.close()
    finally:
        stop_server(server)


def test_reconnecting_heals_when_qdrant_is_back(tmp_path: Path, page: Page) -> None:
    with QdrantDouble() as qdrant:
        server = start_server(
            tmp_path / "data", QDRANT_URL=qdrant.url, QDRANT_GRPC_PORT=str(qdrant.grpc_port)
        )
        try:
            page.goto(f"{server.url}/monitoring")
            choose(page, "Last hour")
            expect(page.get_by_text("Slowest requests")).to_be_visible()
            button = page.get_by_role("button", name="Reconnect now")
            expect(button).to_have_count(0)
            qdrant.stop()
            search(server, 3)  # notices it, and is answered all the same
            expect(button).to_be_visible()
            button.click()
            expect(page.get_by_text("Reconnect now …")).to_be_visible()  # before Robi heals by itself
            qdrant.start()
            expect(page.get_by_text("Qdrant answers again.").first).to_be_visible()
            expect(button).to_have_count(0)
            expect(page.get_by_text("Qdrant cannot be reached.")).to_be_visible()  # as its last error
            expect(page.get_by_text("in the last hour").first).to_be_visible()  # the range is kept
            assert httpx.get(f"{server.url}/health").json()["status"] == "ok"
        finally:
            stop_server(server)
