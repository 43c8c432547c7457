"""What an action had to say is still there after the page was drawn again, on every page with a timer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from core.domain.errors import Busy
from core.services.service import RobiService
from core.store.upkeep import Upkeep
from dashboard.shared.resources import Resources
from tests.pages.conftest import words_of


def refuse(*_: object, **__: object) -> None:
    raise Busy("busy", "It is busy just now.", "Try again.")


def is_still_said(at: AppTest, words: str) -> None:
    for _ in range(3):
        assert words in words_of(at)
        at.run()


def test_overview(
    open_page: Callable[..., AppTest], shared: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = open_page("overview")
    monkeypatch.setattr("core.services.demo.load_demo_gallery", refuse)
    next(button for button in at.button if button.label == "Load the demo gallery").click().run()
    is_still_said(at, "It is busy just now.")


def test_what_went_well(open_page: Callable[..., AppTest], shared: Resources) -> None:
    at = open_page("overview")
    next(button for button in at.button if button.label == "Load the demo gallery").click().run()
    is_still_said(at, "of the demo gallery enrolled")


def test_calibration(
    open_page: Callable[..., AppTest], demo: RobiService, monkeypatch: pytest.MonkeyPatch, shared: Resources
) -> None:
    at = open_page("calibration")
    monkeypatch.setattr(type(shared.calibration), "start", refuse)
    at.button(key="calibration_measure").click().run()
    is_still_said(at, "It is busy just now.")


def test_monitoring(
    open_page: Callable[..., AppTest], demo: RobiService, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = open_page("monitoring")
    monkeypatch.setattr(Upkeep, "check_drift", refuse)
    at.button(key="compare").click().run()
    is_still_said(at, "It is busy just now.")


def test_another_page_does_not_say_what_was_wrong_on_this_one(
    open_page: Callable[..., AppTest], shared: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = open_page("overview")
    monkeypatch.setattr("core.services.demo.load_demo_gallery", refuse)
    next(button for button in at.button if button.label == "Load the demo gallery").click().run()
    at.switch_page("../pages/people.py").run()
    at.switch_page("../pages/overview.py").run()
    assert "It is busy just now." not in words_of(at)
