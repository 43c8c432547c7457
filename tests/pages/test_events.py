"""The record as an operator reads it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from streamlit.testing.v1 import AppTest

from core.domain.events import NewEvent
from core.services.service import RobiService
from tests.pages.conftest import words_of


def test_a_check_says_why_and_keeps_to_the_threshold_that_decided(
    open_page: Callable[..., AppTest], demo: RobiService
) -> None:
    similar = {"decision": "review", "similarity": 0.4999, "decided_by": {"threshold": 0.5}}
    near = {"decision": "match", "similarity": 0.4999, "decided_by": {"threshold": 0.4}}
    far = {**near, "decision": "review", "similarity": 0.61, "held_back_by": ["face_too_small"]}
    for detail in (similar, near, far):
        demo.ledger.events.record([NewEvent(datetime.now(UTC), "verified", "tom-hanks", detail)])
    at = open_page("events")
    checks = [html.value for html in at.html if 'class="robi-event"' in html.value]
    assert [re.findall(r"0\.\d\d", check) for check in checks[:3]] == [["0.61"], ["0.50"], ["0.49"]]
    assert "too far away" in words_of(at)
