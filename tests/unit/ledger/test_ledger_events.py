from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from core.domain.errors import BadInput
from core.domain.events import NewEvent
from core.ledger.ledger import Ledger
from core.ledger.text import encode_cursor

if TYPE_CHECKING:
    from tests.unit.ledger.conftest import MakeTemplates


def event(kind: str, user_id: str | None = None, **detail: object) -> NewEvent:
    return NewEvent(datetime.now(UTC), kind, user_id, detail)


def test_enrolling_and_erasing_leave_events(ledger: Ledger, make: MakeTemplates) -> None:
    ledger.people.enroll("ana", "Ana", make(2, via="webcam"), metadata={"secret": "x"})
    ledger.people.erase("ana")
    erased, enrolled = ledger.events.listing().items
    assert (erased.kind, erased.user_id, erased.name, erased.detail) == (
        "erased",
        "ana",
        None,
        {"templates": 2, "template_ids": [1, 2]},
    )
    assert (enrolled.kind, enrolled.user_id, enrolled.name) == ("enrolled", "ana", None)
    assert enrolled.detail == {"templates": 2, "via": "webcam"}


def test_photos_added_leave_an_event_of_their_own_with_how_similar_they_were(
    ledger: Ledger, make: MakeTemplates
) -> None:
    ledger.people.enroll("ana", "Ana", make())
    ledger.people.add_templates("ana", make(2, via="api"), similarities=[0.61234, 0.5])
    added = ledger.events.listing().items[0]
    assert (added.kind, added.user_id) == ("photos_added", "ana")
    assert added.detail == {"templates": 2, "via": "api", "similarities": [0.6123, 0.5]}


def test_an_event_that_is_replaced_takes_no_other_with_it(ledger: Ledger, make: MakeTemplates) -> None:
    ledger.people.enroll("ana", "Ana", make())
    ledger.people.enroll("bea", "Bea", make())
    moment = datetime.now(UTC)
    first = NewEvent(moment, "verified", "ana", {"number": 1})
    others = [
        NewEvent(moment, "verified", "bea", {"number": 2}),
        NewEvent(moment, "photo_asked", "ana", {"number": 3}),
        NewEvent(moment + timedelta(seconds=1), "verified", "ana", {"number": 4}),
        NewEvent(moment, "verified", None, {"number": 5}),
    ]
    ledger.events.record([first, *others])
    ledger.events.record(
        [NewEvent(moment + timedelta(seconds=2), "verified", "ana", {"number": 6})], replaced=[first]
    )
    numbers = {e.detail["number"] for e in ledger.events.listing().items if "number" in e.detail}
    assert numbers == {2, 3, 4, 5, 6}


def test_events_show_the_present_name_and_none_after_an_erasure(ledger: Ledger, make: MakeTemplates) -> None:
    ledger.people.enroll("ana", "Ana", make())
    ledger.people.enroll("bea", "Bea", make())
    ledger.events.record([event("verified", "ana", similarity=0.7)])
    ledger.people.update("bea", name="Beatriz")
    assert {(e.user_id, e.name) for e in ledger.events.listing().items} == {
        ("ana", "Ana"),
        ("bea", "Beatriz"),
    }
    ledger.people.erase("ana")
    assert {(e.user_id, e.name) for e in ledger.events.listing().items} == {("ana", None), ("bea", "Beatriz")}


def test_a_rename_leaves_an_event_with_both_names(ledger: Ledger, make: MakeTemplates) -> None:
    ledger.people.enroll("ana", "Ana", make())
    ledger.people.update("ana", name="Ana")
    ledger.people.update("ana", metadata={"team": "night"})
    assert [e.kind for e in ledger.events.listing().items] == ["enrolled"]
    ledger.people.update("ana", name="Ana Ruiz")
    renamed = ledger.events.listing().items[0]
    assert (renamed.kind, renamed.user_id, renamed.name) == ("renamed", "ana", "Ana Ruiz")
    assert renamed.detail == {"from_name": "Ana", "to_name": "Ana Ruiz"}


def test_events_keep_the_name_that_the_person_had_then(ledger: Ledger, make: MakeTemplates) -> None:
    ledger.people.enroll("ana", "Ana Ruiz", make())
    ledger.people.update("ana", name="Ana Lind")
    ledger.events.record([event("verified", "ana")])
    ledger.people.update("ana", name="Ana Soto")
    told = [(e.kind, e.name_then, e.name) for e in ledger.events.listing().items]
    assert told == [
        ("renamed", "Ana Soto", "Ana Soto"),
        ("verified", "Ana Lind", "Ana Soto"),
        ("renamed", "Ana Lind", "Ana Soto"),
        ("enrolled", "Ana Ruiz", "Ana Soto"),
    ]


def test_events_of_a_merged_person_keep_their_name_and_lead_to_who_they_are_now(
    ledger: Ledger, make: MakeTemplates
) -> None:
    ledger.people.enroll("ana-2", "Anna R.", make())
    ledger.people.enroll("ana", "Ana Ruiz", make())
    ledger.people.merge("ana-2", "ana")
    told = [(e.kind, e.user_id, e.name_then, e.name, e.user_id_now) for e in ledger.events.listing().items]
    assert told == [
        ("merged", "ana", "Ana Ruiz", "Ana Ruiz", "ana"),
        ("enrolled", "ana", "Ana Ruiz", "Ana Ruiz", "ana"),
        ("enrolled", "ana-2", "Anna R.", "Ana Ruiz", "ana"),
    ]


def test_an_erasure_takes_former_names_out_of_the_events(ledger: Ledger, make: MakeTemplates) -> None:
    ledger.people.enroll("ana-2", "Anna R.", make())
    ledger.people.enroll("ana", "Ana Ruiz", make())
    ledger.people.update("ana", name="Ana Lind")
    ledger.people.merge("ana-2", "ana")
    ledger.people.erase("ana")
    found = {e.kind: (e.name_then, e.detail) for e in ledger.events.listing().items}
    assert found["renamed"] == (None, {})
    assert found["merged"] == (None, {"templates": 1, "from": "ana-2"})


def test_an_erasure_is_found_by_its_event(ledger: Ledger, make: MakeTemplates) -> None:
    ledger.people.enroll("ana", "Ana", make())
    erasure = ledger.people.erase("ana")
    found = ledger.events.erasure(erasure.event)
    assert found is not None
    assert (found.user_id, found.detail["template_ids"]) == ("ana", list(erasure.template_ids))
    assert ledger.events.erasure(erasure.event - 1) is None  # the enrollment


def test_events_of_an_erased_person_do_not_take_the_name_of_who_gets_the_id_next(
    ledger: Ledger, make: MakeTemplates
) -> None:
    ledger.people.enroll("ana", "Ana", make())
    ledger.people.erase("ana")
    ledger.people.enroll("ana", "Anastasia", make())
    assert [(e.kind, e.name) for e in ledger.events.listing().items] == [
        ("enrolled", "Anastasia"),
        ("erased", None),
        ("enrolled", None),
    ]


def test_events_page_newest_first_and_filter(ledger: Ledger) -> None:
    for number in range(7):
        ledger.events.record([event("even" if number % 2 == 0 else "odd", f"u{number % 3}", n=number)])
    first = ledger.events.listing(limit=4)
    second = ledger.events.listing(limit=4, cursor=first.next)
    assert [e.detail["n"] for e in (*first.items, *second.items)] == [6, 5, 4, 3, 2, 1, 0]
    assert (first.total, second.next) == (7, None)
    evens = ledger.events.listing(kind="even", user_id="u0")
    assert [e.detail["n"] for e in evens.items] == [6, 0]
    assert evens.total == 2


def test_count_events_since(ledger: Ledger) -> None:
    ledger.events.record([event("verified"), event("other")])
    now = datetime.now(UTC)
    assert ledger.events.count("verified", now - timedelta(minutes=1)) == 1
    assert ledger.events.count("verified", now + timedelta(minutes=1)) == 0


def test_a_cursor_of_another_listing_is_refused(ledger: Ledger, make: MakeTemplates) -> None:
    for number in range(2):
        ledger.people.enroll(f"u{number}", "Ana", make())
    with pytest.raises(BadInput):
        ledger.events.listing(cursor=ledger.people.listing(limit=1).next)


def test_a_cursor_beyond_every_number_is_refused(ledger: Ledger) -> None:
    with pytest.raises(BadInput):
        ledger.events.listing(cursor=encode_cursor(10**30))
