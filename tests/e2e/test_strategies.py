"""A comparison from the first click to another strategy in use, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from core.config.settings import Settings
from core.faces.engine import FaceEngine
from core.ledger.ledger import Ledger
from core.services.demo import demo_photos
from tests.e2e.conftest import PHONE, Server, start_server, stop_server
from tests.galleries import Gallery, fill
from tests.unit.store.kit import eventually


@pytest.fixture(scope="module")
def engineers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Robi with the faces of the demo photos, for this file's tests alone."""
    running = start_server(tmp_path_factory.mktemp("engineers") / "data")
    for user_id, photo in zip(("tom-hanks", "eileen-collins"), demo_photos()[1:], strict=True):
        files = {"images": (photo.path.name, photo.path.read_bytes(), "image/png")}
        answer = httpx.post(
            f"{running.url}/api/v1/enroll", data={"user_id": user_id}, files=files, timeout=30
        )
        assert answer.status_code == 201, answer.text
    yield running
    stop_server(running)


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Server]:
    """A Robi with 20,000 people: a comparison there takes a while."""
    directory = tmp_path / "data"
    directory.mkdir()
    engine = FaceEngine.open(Settings(_env_file=None, robi_data_dir=directory, use_gpu="false"))
    ledger = Ledger.open(directory / "ledger.db", engine.pack)
    fill(ledger, Gallery(20_000, 1, engine.pack.dimension))
    ledger.close()
    engine.close()
    running = start_server(directory)
    yield running
    stop_server(running)


@pytest.fixture
def compared(engineers: Server, page: Page) -> Page:
    """The page after a comparison."""
    page.goto(f"{engineers.url}/strategies")
    run(page)
    return page


def run(page: Page) -> None:
    """One comparison, until it is on the screen: its number is told below the figures."""
    number = page.get_by_text(re.compile(r"\(no\. \d+\):"))
    before = number.inner_text() if number.count() else ""
    page.get_by_role("button", name="Run", exact=True).click()
    expect(number).not_to_have_text(before)
    expect(page.get_by_text(re.compile(r"The comparison took .* and is kept"))).to_be_visible()
    expect(picture(page)).to_be_visible()


def picture(page: Page) -> Locator:
    return page.get_by_role("img", name=re.compile("Recall at one against p95"))


def chosen(page: Page) -> str:
    return page.get_by_role("combobox", name=re.compile("^Setting|Selected")).first.input_value()


def strategy_in_use(server: Server) -> str:
    """What a check without a strategy of its own is searched by."""
    photo = demo_photos()[2].path
    answer = httpx.post(
        f"{server.url}/api/v1/verify",
        files={"image": (photo.name, photo.read_bytes(), "image/png")},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["strategy"])


def click_a_point(page: Page, wanted: re.Pattern[str]) -> None:
    """Move along the top of the picture, where recall is 1; click points until the wanted one is shown."""
    area = picture(page)
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    for x in range(30, int(box["width"]) - 10, 6):
        at = (box["x"] + x, box["y"] + 72)
        page.mouse.move(*at)
        if area.evaluate("e => getComputedStyle(e.firstElementChild).cursor") != "pointer":
            continue
        page.mouse.click(*at)
        page.wait_for_timeout(700)  # for the click to come back; the loop is bounded
        if wanted.search(chosen(page)):
            return
    raise AssertionError("no point of the picture shows that setting")


def choose(page: Page, label: str) -> None:
    """The way to a setting without a mouse."""
    box = page.get_by_role("combobox", name=re.compile("^Setting|Selected")).first
    box.focus()
    page.keyboard.press("ArrowDown")
    page.get_by_role("option", name=label).first.wait_for()
    page.keyboard.type(label)
    page.keyboard.press("Enter")


def test_a_measured_setting_is_clicked_put_into_use_and_taken_back(compared: Page, engineers: Server) -> None:
    page = compared
    assert strategy_in_use(engineers) == "hybrid"
    click_a_point(page, re.compile("^Cache first · 100% cached"))
    page.get_by_role("button", name="Use this setting").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Strategy: Hybrid → Cache first")
    assert strategy_in_use(engineers) == "hybrid"  # nothing before the confirmation
    dialog.get_by_label("Reason").fill("As fast as it gets")
    dialog.get_by_role("button", name="Use it").click()
    expect(page.get_by_text(re.compile("Cache first .* is in use from now on"))).to_be_visible()
    assert strategy_in_use(engineers) == "faiss_first"

    settings = page.context.new_page()
    settings.goto(f"{engineers.url}/settings")
    expect(settings.get_by_text("As fast as it gets")).to_be_visible()
    settings.close()

    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("In effect now")).to_be_visible()
    assert strategy_in_use(engineers) == "hybrid"


def test_settings_can_be_chosen_without_a_mouse(compared: Page) -> None:
    choose(compared, "Qdrant only")
    expect(compared.get_by_role("button", name="Use this setting")).to_be_visible()
    assert chosen(compared).startswith("Qdrant only")


def test_a_run_goes_on_when_the_page_is_left_and_another_tab_can_cancel_it(
    engineers: Server, page: Page
) -> None:
    page.goto(f"{engineers.url}/strategies")
    page.get_by_text("What to compare").click()
    page.get_by_text("1000", exact=True).click()
    for clients in ("32", "100"):
        page.get_by_role("button", name=clients, exact=True).click()
    page.get_by_text("Index parameters").click()
    for number in ("16", "32", "64", "256", "512"):
        page.get_by_role("button", name=number, exact=True).last.click()
    expect(
        page.get_by_text(re.compile(r"30 settings × 1, 8, 32 and 100 at once, 1,000 probes"))
    ).to_be_visible()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    page.get_by_role("link", name="Monitoring").click()
    expect(page.get_by_role("heading", name="Monitoring")).to_be_visible()
    assert strategy_in_use(engineers) == "hybrid"  # the live system goes on
    other = page.context.new_page()
    other.goto(f"{engineers.url}/strategies")
    expect(other.get_by_role("progressbar")).to_be_visible()
    other.get_by_role("button", name="Cancel").click()
    expect(other.get_by_text("was cancelled. Nothing of it was kept.")).to_be_visible()
    page.get_by_role("link", name="Strategies").click()
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_visible()


def test_a_run_cancelled_midway_says_so_and_leaves_nothing(crowded: Server, page: Page) -> None:
    page.goto(f"{crowded.url}/strategies")
    page.get_by_text("1000", exact=True).click()
    for clients in ("32", "100"):
        page.get_by_role("button", name=clients, exact=True).click()
    expect(page.get_by_text(re.compile("1, 8, 32 and 100 at once, 1,000 probes"))).to_be_visible()
    page.get_by_role("button", name="Run", exact=True).click()
    searching = page.get_by_text(re.compile("^Searching, one client"))
    searching.wait_for(timeout=60_000)  # three loads are to come
    assert becomes(crowded, "robi_comparisons_running", 1)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("was cancelled. Nothing of it was kept.").wait_for(timeout=60_000)
    assert becomes(crowded, "robi_comparisons_running", 0)
    expect(picture(page)).to_have_count(0)

    page.get_by_role("tab", name="Kept runs").click()
    expect(page.get_by_text("No comparison is kept yet.")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Run", exact=True)).to_be_enabled()
    expect(page.get_by_text("was cancelled")).to_have_count(0)
    page.get_by_role("button", name="Run", exact=True).click()  # the next one can begin
    expect(page.get_by_role("progressbar")).to_be_visible()


def becomes(server: Server, name: str, value: float) -> bool:
    """Whether a gauge says so within a few seconds: what it tells of is looked at once a second."""
    return eventually(lambda: gauge(server, name) == value, 5.0)


def gauge(server: Server, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics", timeout=30).text.splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(f"{name} ")))


def test_kept_runs_are_renamed_exported_compared_and_deleted(
    compared: Page, engineers: Server, tmp_path: Path
) -> None:
    page = compared
    run(page)
    page.get_by_role("tab", name="Kept runs").click()
    expect(page.get_by_role("table", name="Figures of A and B")).to_contain_text("no difference shown")

    page.get_by_role("button", name="More").first.click()
    page.get_by_text("Rename", exact=True).click()
    page.get_by_role("dialog").get_by_label("Name").fill("Monday, before lunch")
    page.get_by_role("dialog").get_by_label("Name").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(page.get_by_text("Monday, before lunch").first).to_be_visible()

    page.get_by_role("button", name="More").first.click()
    page.get_by_text("Export", exact=True).click()
    for label, words in (("CSV", "recall_at_1"), ("JSON", '"pareto"'), ("HTML report", "<html")):
        with page.expect_download() as download:
            page.get_by_role("dialog").get_by_role("button", name=label).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        assert words in path.read_text()
        assert "eileen" not in path.read_text().lower()
    draws_itself(page.context.new_page(), path)
    page.get_by_role("dialog").get_by_role("button", name="Close").click()

    page.get_by_role("button", name="More").first.click()
    page.get_by_text("Delete", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Monday, before lunch")).to_have_count(0)


def draws_itself(page: Page, report: Path) -> None:
    """The report's figures appear, and nothing but the file is asked for."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_have_count(7)  # three for each load, and throughput
    assert asked == [report.as_uri()]
    page.close()


def test_one_photo_is_shown_through_all_strategies(engineers: Server, page: Page) -> None:
    page.goto(f"{engineers.url}/strategies")
    page.get_by_role("tab", name="One photo").click()
    page.locator("input[type=file]").set_input_files(str(demo_photos()[2].path))
    expect(page.locator(".robi-headline")).to_have_count(3)
    expect(page.get_by_role("img", name=re.compile("Stages of one photo"))).to_be_visible()


def test_tables_become_cards_on_a_phone(engineers: Server, page: Page) -> None:
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.goto(f"{engineers.url}/strategies")
    run(page)
    table = page.get_by_role("table", name="Percentiles")
    expect(table).to_be_visible()
    box = table.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= PHONE["width"]
    assert table.locator("td").first.evaluate("e => getComputedStyle(e).display") == "flex"
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
