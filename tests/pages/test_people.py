"""People: found while typing, paged, renamed, erased with a receipt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.domain.templates import NewTemplate
from core.services.service import RobiService
from tests.pages.conftest import MAIN, Serve, as_read, words_of


def names(at: AppTest) -> list[str]:
    links = [link.proto for link in at.get("page_link")]
    return [link.label.strip("*") for link in links if "person=" in link.query_string]


def enroll_many(service: RobiService, count: int) -> None:
    rng = np.random.default_rng(7)
    for number in range(count):
        vector = rng.standard_normal(service.engine.pack.dimension).astype(np.float32)
        vector /= np.linalg.norm(vector)
        template = NewTemplate(vector, 0.8, "upload")
        service.ledger.people.enroll(f"p-{number:03}", f"Person {number:03}", [template])


def test_search_finds_by_name_and_id(open_page: Callable[..., AppTest], demo: RobiService) -> None:
    at = open_page("people")
    assert len(names(at)) == 8
    at.text_input(key="q").set_value("HANKS").run()
    assert names(at) == ["Tom Hanks"]
    at.text_input(key="q").set_value("demo-3").run()
    assert names(at) == ["Demo Person 3"]
    at.text_input(key="q").set_value("nobody like this").run()
    assert "Nobody is called “nobody like this”" in words_of(at)


def test_twenty_five_to_a_page(open_page: Callable[..., AppTest], service: RobiService) -> None:
    enroll_many(service, 60)
    at = open_page("people")
    assert (names(at)[0], len(names(at))) == ("Person 000", 25)
    at.button(key="people_trail_next").click().run()
    assert (names(at)[0], len(names(at))) == ("Person 025", 25)
    at.button(key="people_trail_next").click().run()
    assert (names(at)[0], len(names(at))) == ("Person 050", 10)
    assert at.button(key="people_trail_next").disabled
    assert "51–60 of 60 people" in words_of(at)
    at.button(key="people_trail_back").click().run()
    assert names(at)[0] == "Person 025"
    at.text_input(key="q").set_value("person 05").run()
    assert names(at)[0] == "Person 005"  # a new search begins at its first page


def test_a_persons_page_shows_how_they_were_enrolled(
    open_page: Callable[..., AppTest], demo: RobiService
) -> None:
    said = words_of(open_page("people", person="eileen-collins"))
    assert "Eileen Collins" in said
    assert "demo gallery" in said
    assert "never yet" in said
    assert "ROBI_KEEP_IMAGES" in said


def test_an_unknown_person_is_said_not_raised(open_page: Callable[..., AppTest], demo: RobiService) -> None:
    at = open_page("people", person="../../etc")
    assert at.title[0].value == "Person not found"


def test_a_name_with_markup_is_shown_letter_by_letter(
    open_page: Callable[..., AppTest], service: RobiService
) -> None:
    enroll_many(service, 1)
    service.ledger.people.update("p-000", name="**Bold** [x](http://evil) <b>&")
    at = open_page("people", person="p-000")
    assert as_read(at.title[0].value) == "**Bold** [x](http://evil) <b>&"
    assert "\\*\\*Bold" in at.title[0].value
    assert "<b>&" not in "".join(element.value for element in at.html)


def test_a_search_is_there_again_after_a_person_was_looked_at(
    open_page: Callable[..., AppTest], demo: RobiService
) -> None:
    at = open_page("people")
    at.text_input(key="q").set_value("hanks").run()
    at.query_params["person"] = "tom-hanks"
    at.run()
    assert at.title[0].value == "Tom Hanks"
    back = next(link.proto for link in at.get("page_link") if link.proto.label == "All people")
    assert back.query_string == "q=hanks"
    del at.query_params["person"]
    at.query_params["q"] = "hanks"
    at.run()
    assert names(at) == ["Tom Hanks"]
    assert at.text_input(key="q").value == "hanks"


def test_a_search_is_in_the_address(open_page: Callable[..., AppTest], demo: RobiService) -> None:
    assert names(open_page("people", q="hanks")) == ["Tom Hanks"]


def test_who_goes_back_at_once_finds_the_list_as_it_was(
    open_page: Callable[..., AppTest], demo: RobiService
) -> None:
    at = open_page("people", q="hanks")
    at.session_state["people_view"] = "person tom-hanks"  # whose page was left before it was drawn to its end
    at.run()
    assert "Something went wrong" not in words_of(at)
    assert names(at) == ["Tom Hanks"]


def test_an_erasure_has_a_receipt_at_an_address_of_its_own(
    open_page: Callable[..., AppTest], demo: RobiService
) -> None:
    erased = demo.erasures.erase("tom-hanks")
    for _ in range(2):  # a second time as after loading it again: nothing is kept in the session
        at = open_page("people", receipt=str(erased.event))
        said = words_of(at)
        assert "The person with ID tom-hanks was erased" in said
        assert "0 left in the ledger, 0 in Qdrant, 0 in the cache." in said
        assert "Tom Hanks" not in said


@pytest.mark.parametrize("number", ["1", "0", "x", "9" * 40, "-1"])
def test_an_address_of_no_receipt_is_said(
    open_page: Callable[..., AppTest], demo: RobiService, number: str
) -> None:
    at = open_page("people", receipt=number)
    assert [error.proto.title for error in at.error] == ["There is no such receipt."]


def test_a_receipt_with_something_left_says_so(
    open_page: Callable[..., AppTest], demo: RobiService, monkeypatch: pytest.MonkeyPatch
) -> None:
    erased = demo.erasures.erase("tom-hanks")
    monkeypatch.setattr(demo.store.upkeep, "left", lambda _ids: {"qdrant": None, "faiss": 0})
    at = open_page("people", receipt=str(erased.event))
    assert "not known in Qdrant" in words_of(at)
    assert at.warning
    assert not at.success


def test_what_happened_is_told_under_the_name_of_then(
    open_page: Callable[..., AppTest], demo: RobiService
) -> None:
    demo.people.update("tom-hanks", name="Thomas Hanks")
    at = open_page("events")
    links = [
        (link.proto.label, link.proto.query_string)
        for link in at.get("page_link")
        if "person=tom-hanks" in link.proto.query_string
    ]
    assert [label for label, _ in links] == ["**Thomas Hanks**", "**Tom Hanks**"]
    said = words_of(at)
    assert "was renamed; the name was <b>Tom Hanks</b>" in said
    assert "now Thomas Hanks" in said


def test_events_leave_the_following_of_links_to_streamlit(
    open_page: Callable[..., AppTest], demo: RobiService
) -> None:
    """A link in HTML makes the browser load everything again, and what was typed is lost."""
    demo.erasures.erase("tom-hanks")
    for name, query in (("events", {}), ("overview", {}), ("people", {"person": "eileen-collins"})):
        at = open_page(name, **query)
        assert not [element.value for element in at.html if "<a " in element.value]


@pytest.mark.parametrize("keep", [True, False])
def test_pictures_are_shown_only_where_they_are_kept(
    make_service: Callable[..., RobiService],
    serve: Serve,
    photos: dict[str, bytes],
    keep: bool,
) -> None:
    service = make_service(robi_keep_images=keep)
    serve(service)
    service.enrollment.enroll("eileen", "Eileen Collins", [("a.png", photos["astronaut"])])
    at = AppTest.from_file(str(MAIN), default_timeout=30).run()
    at.query_params["person"] = "eileen"
    at.switch_page("../pages/people.py")
    at.query_params["person"] = "eileen"
    at.run()
    assert at.title[0].value == "Eileen Collins"
    assert len(at.get("image")) == int(keep)
