"""People: found while typing, paged, renamed, erased with a receipt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.live import LiveSessions
from core.service import RobiService
from core.types import NewTemplate, Receipt
from dashboard import resources
from dashboard.resources import Resources
from tests.pages.conftest import MAIN, words_of


def names(at: AppTest) -> list[str]:
    links = [link.proto for link in at.get("page_link")]
    return [link.label.strip("*") for link in links if "person=" in link.query_string]


def enroll_many(service: RobiService, count: int) -> None:
    rng = np.random.default_rng(7)
    for number in range(count):
        vector = rng.standard_normal(service.engine.pack.dimension).astype(np.float32)
        vector /= np.linalg.norm(vector)
        template = NewTemplate(vector, 0.8, "upload")
        service.ledger.enroll(f"p-{number:03}", f"Person {number:03}", [template])


def test_search_finds_by_name_and_id(open_page: Callable[..., AppTest], demo: RobiService) -> None:
    at = open_page("people")
    assert len(names(at)) == 8
    at.text_input(key="people_query").set_value("HANKS").run()
    assert names(at) == ["Tom Hanks"]
    at.text_input(key="people_query").set_value("demo-3").run()
    assert names(at) == ["Demo Person 3"]
    at.text_input(key="people_query").set_value("nobody like this").run()
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
    at.text_input(key="people_query").set_value("person 05").run()
    assert names(at)[0] == "Person 050"  # a new search begins at its first page


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
    service.ledger.update("p-000", name="**Bold** [x](http://evil) <b>&")
    at = open_page("people", person="p-000")
    assert at.title[0].value.replace("\\", "") == "**Bold** [x](http://evil) <b>&"
    assert "\\*\\*Bold" in at.title[0].value
    assert "<b>&" not in "".join(element.value for element in at.html)


def test_erasing_shows_a_receipt(open_page: Callable[..., AppTest], demo: RobiService) -> None:
    at = open_page("people")
    at.session_state["receipt"] = demo.erase("tom-hanks")
    at.run()
    said = words_of(at)
    assert "Tom Hanks was erased" in said
    assert "0 left in the ledger, 0 in Qdrant, 0 in the cache." in said
    assert "Tom Hanks" not in names(at)


def test_a_receipt_with_something_left_says_so(open_page: Callable[..., AppTest], demo: RobiService) -> None:
    at = open_page("people")
    at.session_state["receipt"] = Receipt("x", "Ana", 3, {"ledger": 0, "qdrant": None, "faiss": 0})
    at.run()
    assert "not known in Qdrant" in words_of(at)
    assert at.warning
    assert not at.success


@pytest.mark.parametrize("keep", [True, False])
def test_pictures_are_shown_only_where_they_are_kept(
    make_service: Callable[..., RobiService],
    monkeypatch: pytest.MonkeyPatch,
    photos: dict[str, bytes],
    keep: bool,
) -> None:
    service = make_service(robi_keep_images=keep)
    monkeypatch.setattr(resources, "_open", Resources(service.settings, service, LiveSessions(service)))
    service.enroll("eileen", "Eileen Collins", [("a.png", photos["astronaut"])])
    at = AppTest.from_file(str(MAIN), default_timeout=30).run()
    at.query_params["person"] = "eileen"
    at.switch_page("../pages/people.py")
    at.query_params["person"] = "eileen"
    at.run()
    assert at.title[0].value == "Eileen Collins"
    assert len(at.get("image")) == int(keep)
