from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from core.errors import BadInput
from core.ledger.ledger import Ledger

if TYPE_CHECKING:
    from tests.unit.ledger.conftest import MakeTemplates


def test_enrolling_and_erasing_leave_events(ledger: Ledger, make: MakeTemplates) -> None:
    ledger.enroll("ana", "Ana", make(2, via="webcam"), metadata={"secret": "x"})
    ledger.erase("ana")
    erased, enrolled = ledger.events().items
    assert (erased.kind, erased.user_id, erased.name, erased.detail) == (
        "erased",
        "ana",
        None,
        {"templates": 2},
    )
    assert (enrolled.kind, enrolled.user_id, enrolled.name) == ("enrolled", "ana", None)
    assert enrolled.detail == {"templates": 2, "via": "webcam", "created": True}


def test_erasing_takes_the_name_out_of_that_persons_events_only(ledger: Ledger, make: MakeTemplates) -> None:
    ledger.enroll("ana", "Ana", make())
    ledger.enroll("bea", "Bea", make())
    ledger.record("verified", user_id="ana", name="Ana", detail={"similarity": 0.7})
    ledger.erase("ana")
    assert {(event.user_id, event.name) for event in ledger.events().items} == {("ana", None), ("bea", "Bea")}


def test_events_page_newest_first_and_filter(ledger: Ledger) -> None:
    for number in range(7):
        ledger.record("even" if number % 2 == 0 else "odd", user_id=f"u{number % 3}", detail={"n": number})
    first = ledger.events(limit=4)
    second = ledger.events(limit=4, cursor=first.next)
    assert [event.detail["n"] for event in first.items + second.items] == [6, 5, 4, 3, 2, 1, 0]
    assert (first.total, second.next) == (7, None)
    evens = ledger.events(kinds=["even"], user_id="u0")
    assert [event.detail["n"] for event in evens.items] == [6, 0]
    assert evens.total == 2


def test_count_events_since(ledger: Ledger) -> None:
    ledger.record("verified")
    ledger.record("other")
    now = datetime.now(UTC)
    assert ledger.count_events("verified", now - timedelta(minutes=1)) == 1
    assert ledger.count_events("verified", now + timedelta(minutes=1)) == 0


def test_a_cursor_of_another_listing_is_refused(ledger: Ledger, make: MakeTemplates) -> None:
    for number in range(2):
        ledger.enroll(f"u{number}", "Ana", make())
    with pytest.raises(BadInput):
        ledger.events(cursor=ledger.people(limit=1).next)
