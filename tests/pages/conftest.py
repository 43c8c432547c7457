"""The dashboard's pages, run in this process against a real service on a data directory of the test's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.live import LiveSessions
from core.services.demo import load_demo_gallery
from core.services.service import RobiService
from dashboard import streamlit_options
from dashboard.shared import resources
from dashboard.shared.resources import Resources

MAIN = Path(__file__).resolve().parents[2] / "dashboard" / "shell.py"
Serve = Callable[[RobiService], Resources]
streamlit_options.apply()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Has the pages find a service as the process's own, with all that goes with it."""
    made: list[Resources] = []

    def serve_(service: RobiService) -> Resources:
        made.append(Resources(service.settings, service, LiveSessions(service)))
        monkeypatch.setattr(resources, "get", lambda: made[-1])
        return made[-1]

    yield serve_
    for one in made:
        one.benchmarks.close()


@pytest.fixture
def shared(service: RobiService, serve: Serve) -> Resources:
    """What the pages find as the process's resources."""
    return serve(service)


@pytest.fixture
def open_page(shared: Resources) -> Callable[..., AppTest]:
    """Opens a page by name, with query parameters; the run must not have failed."""

    def open_(name: str, **query: str) -> AppTest:
        at = AppTest.from_file(str(MAIN), default_timeout=30).run()
        if name != "overview":
            at.switch_page(f"../pages/{name}.py")
        for key, value in query.items():
            at.query_params[key] = value
        at.run()
        assert not at.exception, at.exception
        return at

    return open_


@pytest.fixture
def demo(shared: Resources) -> RobiService:
    """The service with the demo gallery's eight people."""
    load_demo_gallery(shared.service)
    return shared.service


def words_of(at: AppTest) -> str:
    """All text on the screen, in one string."""
    elements = [
        *at.title,
        *at.header,
        *at.subheader,
        *at.markdown,
        *at.caption,
        *at.html,
        *at.get("page_link"),
    ]
    alerts = [*at.success, *at.warning, *at.error, *at.info]
    parts = [str(element.value) for element in elements if not str(element.value).startswith("<style")]
    parts += [f"{getattr(alert.proto, 'title', '')} {alert.value}" for alert in alerts]
    parts += [f"{metric.label} {metric.value}" for metric in at.metric]
    return as_read("\n".join(parts + [button.label for button in at.button]))


def as_read(markdown: str) -> str:
    """What the screen shows of escaped text: no backslashes, and of a cut such as `:color[x]` the letter."""
    return re.sub(r":color\[(.)\]", r"\1", markdown.replace("\\", ""))
