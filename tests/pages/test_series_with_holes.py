"""Pages over what was measured in pieces: after a restart, in the first minute, with a clock that was set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

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


def changed(series: Any, change: Change) -> Any:
    """Every column of a series; times and lengths keep their values, for a hole has a time as well."""
    if isinstance(series, dict):
        keep = change if change in (one_point, no_point) else list
        return {k: changed(v, keep if k in ("t", "seconds") else change) for k, v in series.items()}
    return change(series)


def set_back(series: dict[str, Any]) -> dict[str, Any]:
    """The clock was set back by an hour in the middle, and one moment came twice."""
    times, half = series["t"], len(series["t"]) // 2
    later = [t - 3600 for t in times[half:]]
    return {**series, "t": [*times[:half], *later[:1], *later[:-1]]}


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
    measured = demo.monitor.measured

    def in_pieces(*asked: Any) -> dict[str, Any]:
        found = measured(*asked)
        series = found["series"]
        return {**found, "series": change(series) if change is set_back else changed(series, change)}

    monkeypatch.setattr(demo.monitor, "measured", in_pieces)  # which `stats` is made of
    at = open_page(name)
    if name == "monitoring":
        at.session_state["figures"] = [row for row in ROWS if row != "GPUs"]
        at.run()
    assert not at.exception
    assert "Something went wrong" not in words_of(at)
