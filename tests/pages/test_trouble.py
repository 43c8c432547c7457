"""What pages say when a part of Robi is not well, and that no stack trace reaches the screen."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.domain.search import Decision, SearchResult, SearchTimings, Strategy
from core.services.service import RobiService
from dashboard.shared import words
from tests.pages.conftest import MAIN, Serve, words_of


def test_a_silent_qdrant_is_named_everywhere(
    make_service: Callable[..., RobiService], serve: Serve, photos: dict[str, bytes]
) -> None:
    service = make_service(qdrant_url="http://127.0.0.1:1", qdrant_grpc_port=1)
    serve(service)
    service.enrollment.enroll("eileen", "Eileen Collins", [("a.png", photos["astronaut"])])
    at = AppTest.from_file(str(MAIN), default_timeout=30).run()
    assert not at.exception
    line = next(link.proto for link in at.get("page_link") if "1 person" in link.proto.label)
    assert "Qdrant degraded" in line.label
    assert "since" in line.help
    assert "Qdrant</b> degraded" in words_of(at)
    assert "Qdrant degraded since" in at.warning[0].proto.title
    assert "Searches go on, at worst with what the cache holds." in at.warning[0].value
    at.switch_page("../pages/monitoring.py").run()
    assert "Qdrant degraded since" in at.warning[0].proto.title
    assert "Searches go on, at worst with what the cache holds." in at.warning[0].value
    at.switch_page("../pages/verify.py").run()
    at.session_state["verify_tabs"] = "Photo"
    at.run()
    at.file_uploader[0].upload("probe.png", photos["astronaut"])
    at.run()
    assert "Eileen Collins" in words_of(at)
    assert "Qdrant did not answer; this search used the cache." in words_of(at)


def show(kind: str) -> None:
    from core.domain.errors import Unavailable
    from dashboard.shared import widgets

    if kind == "ours":
        widgets.show_failure(Unavailable("disk_full", "The disk is full.", "Free some space."))
    else:
        widgets.show_failure(KeyError("/srv/secret/path"))


def test_our_own_errors_are_said_in_words() -> None:
    at = AppTest.from_function(show, args=("ours",)).run()
    assert at.error[0].proto.title == "The disk is full."
    assert at.error[0].value == "Free some space."


def test_anything_else_is_a_reference_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        at = AppTest.from_function(show, args=("other",)).run()
    said = f"{at.error[0].proto.title} {at.error[0].value}"
    assert "Something went wrong" in said
    assert "secret" not in said
    reference = caplog.records[-1].getMessage().split()[-1]
    assert reference in said


def test_settings_show_values_but_no_secrets(make_service: Callable[..., RobiService], serve: Serve) -> None:
    service = make_service(
        qdrant_url="http://127.0.0.1:1", qdrant_grpc_port=1, qdrant_api_key="pa55", face_threshold=0.45
    )
    serve(service)
    at = AppTest.from_file(str(MAIN), default_timeout=30).run()
    at.switch_page("../pages/settings.py").run()
    assert not at.exception
    said = words_of(at)
    assert "`FACE_THRESHOLD` = **0.45** :blue-badge[changed]" in said
    assert "Default: 0.4." in said
    assert "pa55" not in said
    missing = [name for name in type(service.settings).model_fields if f"`{name.upper()}`" not in said]
    assert missing == []


def test_a_cache_that_lost_a_template_is_found_and_put_right(
    open_page: Callable[..., AppTest], demo: RobiService
) -> None:
    at = open_page("monitoring")
    at.button("compare").click().run()
    assert "hold just what the ledger says" in at.success[0].value
    rows = demo.store.hot.snapshot.rows
    rows.drop(rows.places(np.array([1])))
    at.button("compare").click().run()
    assert "The cache lacked 1 template and held 0 too many: put right." in at.success[0].value
    at.button("compare").click().run()
    assert "hold just what the ledger says" in at.success[0].value


def test_a_search_says_who_was_silent_and_who_is_still_catching_up() -> None:
    def search(tiers: tuple[str, ...], degraded: tuple[str, ...]) -> SearchResult:
        timings = SearchTimings(1.0)
        return SearchResult(
            (),
            Decision.UNKNOWN,
            Strategy.HYBRID,
            0.4,
            tiers,
            degraded,
            cache_top1_wrong=False,
            timings=timings,
        )

    assert words.degraded(search(("faiss", "qdrant"), ())) is None
    assert (
        words.degraded(search(("faiss",), ("qdrant",)))
        == "Qdrant did not answer; this search used the cache."
    )
    assert (
        words.degraded(search(("faiss", "qdrant"), ("faiss",)))
        == "The cache is still catching up; this search used the cache and Qdrant."
    )
