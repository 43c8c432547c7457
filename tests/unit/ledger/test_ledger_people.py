from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from core.domain.errors import BadInput, Conflict, NotFound, TooLarge
from core.ledger.ledger import Ledger

if TYPE_CHECKING:
    from tests.unit.ledger.conftest import MakeTemplates


def names(ledger: Ledger, query: str = "") -> list[str]:
    return [person.name for person in ledger.people.listing(query=query).items]


def test_enroll_creates_a_person_with_their_templates(ledger: Ledger, make: MakeTemplates) -> None:
    new = make(3, via="webcam", thumbnail=b"jpeg")
    done = ledger.people.enroll("ana", "Ana Ruiz", new, metadata={"team": "night"})
    assert done.created
    assert done.template_ids == (1, 2, 3)
    assert done.seq == 3
    assert done.person == ledger.people.one("ana")
    assert (done.person.name, done.person.templates, done.person.metadata) == (
        "Ana Ruiz",
        3,
        {"team": "night"},
    )
    for stored, given in zip(ledger.people.templates("ana"), new, strict=True):
        np.testing.assert_array_equal(stored.vector, given.vector)
        assert (stored.user_id, stored.name) == ("ana", "Ana Ruiz")
    assert [(info.via, info.thumbnail) for info in ledger.people.template_infos("ana")] == [
        ("webcam", b"jpeg")
    ] * 3


def test_templates_added_later_keep_name_and_metadata(ledger: Ledger, make: MakeTemplates) -> None:
    ledger.people.enroll("ana", "Ana Ruiz", make(), metadata={"team": "night"})
    again = ledger.people.add_templates("ana", make(2))
    assert not again.created
    assert (again.person.name, again.person.metadata, again.person.templates) == (
        "Ana Ruiz",
        {"team": "night"},
        3,
    )
    assert ledger.people.add_templates("ana", make(), metadata={"team": "day"}).person.metadata == {
        "team": "day"
    }


def test_nobody_is_enrolled_twice_or_added_to_when_gone(ledger: Ledger, make: MakeTemplates) -> None:
    ledger.people.enroll("ana", "Ana Ruiz", make())
    before = ledger.feed.head()
    with pytest.raises(Conflict) as problem:
        ledger.people.enroll("ana", "Somebody Else", make(2))
    assert problem.value.code == "person_exists"
    assert (ledger.people.one("ana").name, ledger.feed.head()) == ("Ana Ruiz", before)
    ledger.people.erase("ana")
    with pytest.raises(NotFound):
        ledger.people.add_templates("ana", make())
    assert ledger.people.find("ana") is None


def test_only_the_first_templates_say_who_a_person_is(ledger: Ledger, make: MakeTemplates) -> None:
    ledger.people.enroll("ana", "Ana Ruiz", make(2))
    ledger.people.enroll("bea", "Bea Lind", make(3))
    ledger.people.add_templates("ana", make(4))
    vouched = [template.vouched for template in ledger.people.templates("ana")]
    assert vouched == [True] * 2 + [False] * 4
    ids = [template.template_id for template in ledger.people.templates("ana")]
    assert [ledger.feed.resolve(ids)[i].vouched for i in ids] == vouched
    ledger.people.merge("ana", "bea")
    assert sum(template.vouched for template in ledger.people.templates("bea")) == 5


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(np.zeros(128, np.float32), id="zero"),
        pytest.param(np.full(128, np.nan, np.float32), id="nan"),
        pytest.param(np.full(128, np.inf, np.float32), id="infinite"),
        pytest.param(np.ones(127, np.float32), id="short"),
        pytest.param(np.ones((1, 128), np.float32), id="matrix"),
        pytest.param(np.full(128, 1e-9, np.float32), id="next to nothing"),
        pytest.param(np.full(128, 1e30, np.float32), id="overflowing when squared"),
    ],
)
def test_a_bad_vector_is_refused_and_nothing_is_enrolled(
    ledger: Ledger, make: MakeTemplates, vector: np.ndarray
) -> None:
    bad = make(2)
    object.__setattr__(bad[1], "vector", vector)
    with pytest.raises(BadInput) as refused:
        ledger.people.enroll("ana", "Ana", bad)
    assert refused.value.code == "invalid_embedding"
    assert ledger.people.find("ana") is None
    assert ledger.feed.head() == 0


def test_vectors_are_stored_normalised_or_their_similarities_would_be_no_cosines(
    ledger: Ledger, make: MakeTemplates
) -> None:
    (template,) = make()
    ledger.people.enroll("ana", "Ana", [replace(template, vector=3.0 * template.vector.astype(np.float64))])
    (stored,) = ledger.people.templates("ana")
    assert float(stored.vector @ stored.vector) == pytest.approx(1.0, abs=1e-6)
    assert float(stored.vector @ template.vector) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("metadata", [{"a": float("nan")}, {"a": object()}], ids=["nan", "object"])
def test_metadata_that_are_not_json_are_refused(ledger: Ledger, make: MakeTemplates, metadata: dict) -> None:
    with pytest.raises(BadInput) as refused:
        ledger.people.enroll("ana", "Ana", make(), metadata=metadata)
    assert refused.value.code == "invalid_metadata"


def test_metadata_are_small(ledger: Ledger, make: MakeTemplates) -> None:
    large = {"a": "x" * 17_000}
    with pytest.raises(TooLarge):
        ledger.people.enroll("ana", "Ana", make(), metadata=large)
    ledger.people.enroll("ana", "Ana", make())
    with pytest.raises(TooLarge):
        ledger.people.update("ana", metadata=large)
    assert ledger.people.one("ana").metadata == {}


def test_nothing_to_enroll_is_refused(ledger: Ledger) -> None:
    with pytest.raises(BadInput):
        ledger.people.enroll("ana", "Ana", [])


def test_unknown_people_are_not_found(ledger: Ledger) -> None:
    for attempt in (ledger.people.one, ledger.people.erase, ledger.people.update):
        with pytest.raises(NotFound) as missing:
            attempt("nobody")
        assert missing.value.code == "unknown_person"
    assert ledger.people.find("nobody") is None
    assert ledger.people.templates("nobody") == ()
    assert ledger.people.template_infos("nobody") == ()


def test_update_changes_only_what_is_given(ledger: Ledger, make: MakeTemplates) -> None:
    before = ledger.people.enroll("ana", "Ana", make(), metadata={"team": "night"}).person
    renamed = ledger.people.update("ana", name="Zoë")
    assert (renamed.name, renamed.metadata) == ("Zoë", {"team": "night"})
    assert renamed.updated_at > before.updated_at
    assert ledger.people.update("ana", metadata={}).metadata == {}
    assert names(ledger, "zoe") == ["Zoë"]
    assert names(ledger, "ana") == ["Zoë"]  # still found by the user_id
    assert ledger.feed.resolve([1])[1].name == "Zoë"


@pytest.mark.parametrize(
    ("stored", "query"),
    [
        ("ána lópez", "ÁNA"),
        ("ÁNA LÓPEZ", "ána ló"),
        ("Ana Lopez", "ána"),
        ("Ána López", "ana lopez"),
        ("Ωμέγα", "ωΜΈΓΑ"),
        ("Юлия", "юЛИЯ"),
        ("Straße", "STRASSE"),
        ("\ufb01nn", "FINN"),  # the ligature fi
        ("A\u0301na", "\u00c1NA"),  # combining and precomposed
        ("김민준", "민준"),
        ("100% Real_Name\\x", "0% real_n"),
        ("100% Real_Name\\x", "e\\x"),
        ("Łukasz", "lukasz"),
        ("Søren Ærø", "soren aero"),
        ("Đặng Văn", "dang van"),
        ("İpek Işık", "ipek isik"),
        ("O’Brien", "o'brien"),
        ("O'Brien", "obrien"),
        ("O`Brien", "Oʼbrien"),
        ("Jean\u2011Luc", "jean-luc"),
        ("Jean-Luc", "jean luc"),
        ("Jean Luc", "jean\u2013luc"),
        ("Ana María Ruiz", "ruiz ana"),
        ("أحمد", "احمد"),
        ("مُحَمَّد", "محمد"),
        ("محـمد", "محمد"),
        ("فاطمة", "فاطمه"),
        ("علی\u200cرضا", "عليرضا"),
        ("שָׁלוֹם", "שלום"),
        ("יוסף", "יוספ"),
        ("Ｔａｎａｋａ", "tanaka"),
        ("Room ٤٢", "42"),
    ],
)
def test_search_ignores_case_and_accents_in_every_script(
    ledger: Ledger, make: MakeTemplates, stored: str, query: str
) -> None:
    ledger.people.enroll("p1", stored, make())
    ledger.people.enroll("p2", "Other Person", make())
    assert names(ledger, query) == [stored]


@pytest.mark.parametrize(
    ("stored", "query"),
    [("हिन्दी", "हन्द"), ("がく", "かく"), ("สมชาย", "สมชย")],  # another vowel or consonant: another word
)
def test_search_keeps_what_makes_another_word(
    ledger: Ledger, make: MakeTemplates, stored: str, query: str
) -> None:
    ledger.people.enroll("p1", stored, make())
    assert names(ledger, query) == []


@pytest.mark.parametrize("query", ["%", "_", "\\", "' OR 1=1 --"])
def test_search_takes_wildcards_literally(ledger: Ledger, make: MakeTemplates, query: str) -> None:
    ledger.people.enroll("ana", "Ana", make())
    assert names(ledger, query) == []


def test_paging_shows_everybody_once_in_order(ledger: Ledger, make: MakeTemplates) -> None:
    called = ["bea", "Ána", "ana", "Ana B", "Zoë", "Élan", "elan", "Ana"]
    for number, name in enumerate(called):
        ledger.people.enroll(f"u{number}", name, make())
    seen: list[str] = []
    cursor = None
    for _ in range(len(called)):
        page = ledger.people.listing(limit=3, cursor=cursor)
        assert page.total == len(called)
        seen += [f"{person.name}/{person.user_id}" for person in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert seen == ["Ána/u1", "ana/u2", "Ana/u7", "Ana B/u3", "bea/u0", "Élan/u5", "elan/u6", "Zoë/u4"]


def test_a_page_that_just_fits_has_no_next(ledger: Ledger, make: MakeTemplates) -> None:
    for number in range(3):
        ledger.people.enroll(f"u{number}", "Ana", make())
    assert ledger.people.listing(limit=3).next is None
    assert ledger.people.listing(limit=2).next is not None


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "é", "bnVsbA", "WzFd", "WyJhIl0", "W1tbW1tb" * 2000, "WyJhIiwgMV0", "WyJcdWQ4MDAiLCAiYSJd"],
    ids=lambda c: c[:8],
)
def test_a_foreign_cursor_is_refused(ledger: Ledger, cursor: str) -> None:
    with pytest.raises(BadInput) as refused:
        ledger.people.listing(cursor=cursor)
    assert refused.value.code == "bad_parameter"


@pytest.mark.parametrize("limit", [0, -1, 501])
def test_a_page_has_at_least_one_and_at_most_500_rows(ledger: Ledger, limit: int) -> None:
    for listing in (ledger.people.listing, ledger.events.listing):
        with pytest.raises(BadInput):
            listing(limit=limit)


def test_touch_moves_forward_only_and_ignores_strangers(ledger: Ledger, make: MakeTemplates) -> None:
    ledger.people.enroll("ana", "Ana", make())
    now = datetime.now(UTC)
    ledger.events.record([], matched={"ana": now, "nobody": now})
    ledger.events.record([], matched={"ana": now - timedelta(hours=1)})
    ledger.events.record([], matched={})
    assert ledger.people.one("ana").last_matched_at == now


def test_times_are_utc_whatever_zone_they_come_in(ledger: Ledger, make: MakeTemplates) -> None:
    from zoneinfo import ZoneInfo

    ledger.people.enroll("ana", "Ana", make())
    moment = datetime(2100, 1, 2, 3, tzinfo=ZoneInfo("Asia/Tokyo"))
    ledger.events.record([], matched={"ana": moment})
    matched = ledger.people.one("ana").last_matched_at
    assert matched == moment
    assert matched.tzinfo is UTC
    assert ledger.people.one("ana").created_at.tzinfo is UTC
