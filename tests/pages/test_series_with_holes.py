"""Pages over what was measured in pieces: after a restart, in the first minute, with a clock that was set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.metrics.figures import Series
from core.monitoring.stats import Report
from core.services.service import RobiService
from dashboard.monitoring.figures import ROWS
from tests.pages.conftest import words_of

Change = Callable[[list[Any]], list[Any]]


def holes(column: list[Any]) -> list[Any]:
    return [None if number % 2 else value for number, value in enumerate(column)]


def only_holes(column: list[Any]) -> list[Any]:
    return [None] * len(column)


def not_a_number(column: list[Any]) -> list[Any]:
    return [float("nan") if number % 3 == 1 else value for number, value in enumerate(column)]


def one_point(column: list[Any]) -> list[Any]:
    return column[-1:]


def no_point(column: list[Any]) -> list[Any]:
    return []


def changed(series: Series, change: Change) -> Series:
    """Every column of a series; times and lengths keep their values, for a hole has a time as well."""
    keep = change if change in (one_point, no_point) else list
    changes = {"t": keep, "seconds": keep}
    names = [field.name for field in fields(series)]
    return Series(**{name: _changed(getattr(series, name), changes.get(name, change)) for name in names})


def _changed(columns: Any, change: Change) -> Any:
    if isinstance(columns, Mapping):
        return {key: _changed(each, change) for key, each in columns.items()}
    return change(list(columns))


def set_back(series: Series) -> Series:
    """The clock was set back by an hour in the middle, and one moment came twice."""
    times, half = list(series.t), len(series.t) // 2
    later = [t - 3600 for t in times[half:]]
    return replace(series, t=[*times[:half], *later[:1], *later[:-1]])


@pytest.mark.parametrize("name", ["overview", "monitoring"])
@pytest.mark.parametrize(
    "change", [holes, only_holes, not_a_number, one_point, no_point, set_back], ids=lambda f: f.__name__
)
def test_a_page_draws_whatever_was_measured(
    open_page: Callable[..., AppTest],
    demo: RobiService,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    change: Any,
) -> None:
    report = demo.monitor.report

    def in_pieces(*asked: Any) -> Report:
        found = report(*asked)
        series = found.measured.series
        pieces = change(series) if change is set_back else changed(series, change)
        return replace(found, measured=replace(found.measured, series=pieces))

    monkeypatch.setattr(demo.monitor, "report", in_pieces)
    at = open_page(name)
    if name == "monitoring":
        at.session_state["figures"] = [row for row in ROWS if row != "GPUs"]
        at.run()
    assert not at.exception
    assert "Something went wrong" not in words_of(at)
