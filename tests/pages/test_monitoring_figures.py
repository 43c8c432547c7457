"""What the monitoring page draws: every line is seen, nothing twice, and empty figures say so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.domain.search import SearchTimings
from core.metrics import gauges, ranges
from core.metrics.figures import Summary
from core.metrics.gauges import GaugeKey
from core.metrics.measured import Measured
from core.metrics.ranges import RangeFigures
from core.metrics.series import Point
from core.metrics.series import columns as columns_of
from core.monitoring.stats import Gauges
from core.services.service import RobiService
from dashboard.monitoring import charts
from dashboard.monitoring.charts import TimeSpan
from dashboard.monitoring.figures import ROWS, Figure, by_code, load_and_speed, offered
from tests.unit.metrics.test_metrics import result

SPAN = TimeSpan([0.0, 60.0, 120.0], 0.0, 180.0)
SIX_FAILED = Summary(failed=6, errors={"busy": 6})
THREE_BUSY = Summary(errors={"busy": 3})


def figures(measured: RangeFigures) -> dict[str, Figure]:
    rows = [load_and_speed(measured, "p95"), *(ROWS[name](measured, "p95") for name in offered(measured))]
    assert all(len(row) == 2 for row in rows)
    found = [figure for row in rows for figure in row]
    assert len({figure.title for figure in found}) == len(found)
    return {figure.title: figure for figure in found}


def columns(figure: Figure) -> dict[str, list[Any]]:
    return figure.option["dataset"]["source"].drop(columns="time").to_dict("list")


def test_an_empty_figure_says_so_and_has_no_legend():
    for option in (
        charts.lines(SPAN, {"a": [None] * 3, "b": [None] * 3}),
        charts.lines(SPAN, {}),
        charts.latencies(SPAN, {"a": [None] * 3}, {}),
    ):
        assert option["title"]["text"] == "Nothing measured"
        assert option["legend"]["show"] is False
    assert charts.errors(SPAN, {}, [0, 0, 0])["title"]["text"] == "No errors"
    assert "title" not in charts.lines(SPAN, {"a": [0, None, 0]}), "0 was measured"


def test_lines_that_are_often_equal_do_not_hide_each_other():
    below, above = charts.lines(SPAN, {"a": [1, 1, 1], "b": [1, 1, 1]}, alike=True)["series"]
    assert "type" not in below["lineStyle"]
    assert above["lineStyle"]["type"] == [4, 4]


def test_a_point_between_gaps_has_a_dot_and_no_other_has():
    (line,) = charts.lines(SPAN, {"a": [1, None, 0]})["series"]
    assert [point["coord"] for point in line["markPoint"]["data"]] == [[0, 1], [120_000, 0]]
    (line,) = charts.lines(SPAN, {"a": [1, 1, None]})["series"]
    assert line["markPoint"]["data"] == []
    assert line["showSymbol"] is False


def test_a_long_legend_gets_its_rows_above_the_figure():
    short = charts.lines(SPAN, {"a": [1, 1, 1], "b": [1, 1, 1]})
    many = charts.lines(SPAN, {f"a rather long name {n}": [1, 1, 1] for n in range(6)})
    assert many["grid"]["top"] > short["grid"]["top"] + 40
    assert "type" not in many["legend"], "no arrows to page with: every name is on the screen"


def test_a_search_that_failed_is_not_stacked_on_its_own_error():
    option = charts.errors(SPAN, {"busy": [2, None, 1]}, [2, 0, 1])
    bars = [series for series in option["series"] if series["type"] == "bar"]
    assert [series["name"] for series in bars] == ["busy"]
    line = next(series for series in option["series"] if series["type"] == "line")
    assert "stack" not in line


def test_only_the_most_frequent_codes_have_a_colour_and_none_is_lost():
    errors = {f"code_{n}": [float(n), None] for n in range(1, 8)}
    found = by_code(errors)
    assert list(found) == ["code_4", "code_5", "code_6", "code_7", "others"]
    assert found["others"] == [6.0, 0]
    assert list(by_code({"busy": [1.0]})) == ["busy"]


@pytest.mark.parametrize(("step", "title", "per"), [(5, "a minute", 60.0), (14_400, "an hour", 3600.0)])
def test_errors_are_rates_whatever_the_length_of_a_point(
    service: RobiService, step: int, title: str, per: float
):
    measured = service.monitor.report("5min").measured
    points = (Point(0.0, 60.0, Measured(), SIX_FAILED), Point(60.0, step, Measured(), THREE_BUSY))
    found = replace(measured, range=replace(measured.range, step=step), series=columns_of(points))
    figure = figures(found)[f"Errors {title}"]
    drawn = columns(figure)
    assert drawn["busy"] == [6 * per / 60.0, 3 * per / step]
    assert drawn[charts.UNANSWERED][0] == 6 * per / 60.0


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws the step that has just begun too, which a page leaves out as it is not whole yet."""
    monkeypatch.setattr(ranges, "drawable", list)


@pytest.mark.usefixtures("at_once")
def test_every_stage_is_in_one_of_two_figures_with_one_row_of_names(service: RobiService):
    for stage in ("detect", "embed", "commit", "sync", "enroll", "compare"):
        service.metrics.stage(stage, 3.0)
    service.metrics.searches([result(timings=SearchTimings(9.0, hot=1.0, cold=2.0, merge=1.0, join=1.0))])
    found = figures(service.monitor.report("5min").measured)
    search, faces = found["Stages of a search, p95"], found["Faces and enrollment, p95"]
    assert list(columns(search)) == ["cache", "Qdrant", "merge", "names", "compare 1:1"]
    assert list(columns(faces)) == ["detect", "embed", "ledger", "tiers", "enrollment"]
    for figure in (search, faces):
        assert figure.option["grid"]["top"] == charts.lines(SPAN, {"a": [1, 1, 1]})["grid"]["top"]
    assert [line["label"]["formatter"] for line in faces.option["series"][0]["markLine"]["data"]] == [
        "enroll 1 s"
    ]
    assert "markLine" not in search.option["series"][0]


@pytest.mark.usefixtures("at_once")
def test_what_the_recorder_looks_at_is_drawn(service: RobiService):
    service.metrics.gauges(Gauges().of(service.monitor.snapshot()))
    card = {
        gauges.UTILISATION: 50.0,
        gauges.TEMPERATURE: 50.0,
        gauges.POWER: 50.0,
        gauges.MEMORY_USED: 2048.0,
    }
    service.metrics.gauges({GaugeKey(what, "0"): value for what, value in card.items()})
    found = figures(service.monitor.report("5min").measured)
    seen = {title: list(columns(figure)) for title, figure in found.items()}
    assert seen["Templates held"] == seen["Changes behind"] == ["cache", "Qdrant"]
    assert seen["Memory"] == ["Robi", "helpers", "GPU 0"]
    assert columns(found["Memory"])["GPU 0"][-1] == 2.0
    assert seen["GPU"] == ["GPU 0"]
    assert seen["GPU temperature and power"] == ["GPU 0 °C", "GPU 0 W"]
    assert "waiting, most" in seen["Queue"]
    measured = service.monitor.report("5min").measured
    assert "GPU" not in figures(replace(measured, series=columns_of([])))
