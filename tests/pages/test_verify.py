"""Verifying a photo, one to one and one to many; the events that come of it."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.domain.faces import Box
from core.domain.search import Candidate, Decision, SearchResult, SearchTimings, Source, Strategy
from core.live import LiveFace, VerifyLive, VerifySnapshot
from core.services.service import RobiService
from dashboard.shared.resources import Resources
from tests.conftest import jpeg, picture
from tests.pages.conftest import words_of


def check_photo(at: AppTest, data: bytes) -> AppTest:
    at.session_state["verify_tabs"] = "Photo"
    at.run()
    at.file_uploader[0].upload("probe.jpg", data)
    at.run()
    assert not at.exception
    return at


def test_a_known_face_is_named(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    at = check_photo(open_page("verify"), variants["astronaut"])
    card = next(element.value for element in at.html if "robi-candidate" in element.value)
    assert "Eileen Collins" in card
    assert "match · faiss" in card
    assert "threshold 0.40" in card
    assert "%" not in re.sub(r"<[^>]*>", "", card)


def test_all_faces_of_a_photo_are_named(
    open_page: Callable[..., AppTest], demo: RobiService, photos: dict[str, bytes]
) -> None:
    said = words_of(check_photo(open_page("verify"), photos["group"]))
    assert all(f"Demo Person {number}" in said for number in range(1, 7))
    assert "Face 6" in said


def test_a_stranger_is_not_recognised(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    demo.erasures.erase("eileen-collins")
    said = words_of(check_photo(open_page("verify"), variants["astronaut"]))
    assert "Not recognised" in said
    everybody = [person.name for person in demo.people.listing().items]
    assert len(everybody) == 7
    assert not [name for name in everybody if name in said]  # nobody is named as the nearest


def test_a_face_too_small_for_a_match_is_for_review_and_says_how_small(
    open_page: Callable[..., AppTest], demo: RobiService, photos: dict[str, bytes]
) -> None:
    demo.tuning.tune({"min_eye_distance": 60}, "Only close-ups.")
    said = words_of(check_photo(open_page("verify"), photos["hanks"]))
    assert "Could be Tom Hanks" in said
    assert re.search(r"The eyes are \d\d pixels apart; 60 are needed\.", said)


def test_one_person_twice_in_a_photo_is_matched_once(
    open_page: Callable[..., AppTest], demo: RobiService, photos: dict[str, bytes]
) -> None:
    seen = picture(photos["astronaut"])
    said = words_of(check_photo(open_page("verify"), jpeg(np.hstack([seen, seen[:, ::-1]]))))
    assert said.count("match ·") == 1
    assert "Could be Eileen Collins" in said
    assert "Another face in the picture is more like this person." in said


def test_what_was_not_looked_at_is_said(
    open_page: Callable[..., AppTest], demo: RobiService, photos: dict[str, bytes]
) -> None:
    at = open_page("verify")
    at.session_state["verify_mode"] = "One person"
    at.run()
    at.selectbox(key="verify_person").select("eileen-collins")
    said = words_of(check_photo(at, photos["group"]))
    assert "Other faces in the picture were left out." in said


def test_one_to_one_compares_with_one_person(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    at = open_page("verify")
    at.session_state["verify_mode"] = "One person"
    at.run()
    assert "Choose the person to compare with" in words_of(at)
    at.selectbox(key="verify_person").select("tom-hanks")
    said = words_of(check_photo(at, variants["astronaut"]))
    assert not [control for control in at.segmented_control if control.label == "Strategy"]
    assert "Not recognised as Tom Hanks" in said
    assert "own photos" in said


def test_only_people_of_the_same_name_are_told_apart_by_their_ids(
    open_page: Callable[..., AppTest], demo: RobiService
) -> None:
    demo.people.update("demo-1", name="Tom Hanks")
    at = open_page("verify")
    at.session_state["verify_mode"] = "One person"
    at.run()
    offered = at.selectbox(key="verify_person").options
    assert {"Tom Hanks (tom-hanks)", "Tom Hanks (demo-1)", "Eileen Collins"} <= set(offered)


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"words", "Text files are not accepted"), (b"GIF89a" + bytes(64), "GIF files are not accepted")],
)
def test_a_file_that_is_no_photo_is_said(
    open_page: Callable[..., AppTest], demo: RobiService, data: bytes, said: str
) -> None:
    assert said in words_of(check_photo(open_page("verify"), data))


def test_drawing_the_page_again_puts_nothing_more_on_record(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    at = check_photo(open_page("verify"), variants["astronaut"])
    at.run()
    at.run()
    assert demo.events.listing(kind="verified").total == 1


def test_a_higher_threshold_changes_the_answer(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    at = check_photo(open_page("verify"), variants["hanks"])
    assert "match ·" in words_of(at)
    similarity = demo.recognition.verify(variants["hanks"]).search.best.similarity
    if similarity < 0.8:
        at.slider(key="verify_threshold_0.4").set_value(0.8).run()
        assert "match ·" not in words_of(at)


def test_the_live_session_follows_the_controls(
    open_page: Callable[..., AppTest], demo: RobiService, shared: Resources
) -> None:
    at = open_page("verify")
    at.slider(key="verify_threshold_0.4").set_value(0.55).run()
    session = shared.live.get(at.session_state["verify_token"])
    assert isinstance(session, VerifyLive)
    assert session.options.threshold == pytest.approx(0.55)
    assert session.options.strategy is None  # as tuned


def test_an_open_page_follows_the_tuning(
    open_page: Callable[..., AppTest], demo: RobiService, shared: Resources
) -> None:
    at = open_page("verify")
    session = shared.live.get(at.session_state["verify_token"])
    assert isinstance(session, VerifyLive)
    assert (session.options.threshold, session.options.strategy) == (None, None)
    demo.tuning.tune({"threshold": 0.6, "strategy": "qdrant_only"}, "Too many strangers at the gate.")
    at.run()
    assert session.options.threshold is None
    slider = at.slider(key="verify_threshold_0.6")
    assert (slider.value, slider.min) == (0.6, 0.6)


def test_a_guard_can_only_be_stricter_than_the_tuning(
    open_page: Callable[..., AppTest], demo: RobiService
) -> None:
    at = open_page("verify")
    slider = at.slider(key="verify_threshold_0.4")
    assert (slider.min, slider.value) == (0.4, 0.4)
    assert [part.label for part in at.expander] == ["Details"]
    assert slider in at.expander[0].slider


def test_events_tell_what_happened(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    demo.recognition.verify(variants["astronaut"])
    demo.erasures.erase("tom-hanks")
    said = words_of(open_page("events"))
    assert "was recognised" in said
    assert "The person with ID **tom-hanks**" in said
    assert "Tom Hanks" not in said
    at = open_page("events")
    at.session_state["events_kind"] = "erased"
    at.run()
    assert "was recognised" not in words_of(at)


def seen(tracks: int, more: int = 0) -> VerifySnapshot:
    def face(number: int) -> LiveFace:
        who = Candidate(f"p{number}", f"Person {number}", 0.7, Source.BOTH, number)
        search = SearchResult(
            (who,), Decision.MATCH, Strategy.HYBRID, 0.4, ("faiss",), (), False, SearchTimings(total=1.0), 0.3
        )
        return LiveFace(number + 40, number, Box(0, 0, 9, 9), search if number != 2 else None, None)

    faces = tuple(face(number) for number in range(tracks, 0, -1))
    return VerifySnapshot(True, faces, more, {"total": 9.0}, None)


def test_all_faces_in_view_are_listed_by_their_numbers(
    open_page: Callable[..., AppTest], demo: RobiService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VerifyLive, "snapshot", lambda session: seen(3, more=2))
    said = words_of(open_page("verify"))
    assert said.index("Person 1") < said.index("Looking …") < said.index("Person 3")
    assert "2 more faces in view" in said


def test_one_face_in_view_is_shown_with_all_its_candidates(
    open_page: Callable[..., AppTest], demo: RobiService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VerifyLive, "snapshot", lambda session: seen(1))
    said = words_of(open_page("verify"))
    assert "Person 1" in said
    assert "robi-face" not in said
