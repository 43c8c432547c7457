"""Enrolling on the page: photos with verdicts, who it is, and what happens when somebody is known already."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.live import EnrollLive, LiveSessions
from core.services.service import RobiService
from dashboard.shared import resources
from dashboard.shared.drafts import Draft
from dashboard.shared.resources import Resources
from tests.conftest import jpeg
from tests.pages.conftest import words_of


def choose_tab(at: AppTest, name: str) -> AppTest:
    at.session_state["enroll_tabs"] = name
    at.run()
    assert not at.exception
    return at


def upload(at: AppTest, *files: tuple[str, bytes]) -> AppTest:
    choose_tab(at, "Upload")
    for name, data in files:
        at.file_uploader[0].upload(name, data)
    at.run()
    assert not at.exception
    return at


def say_who(at: AppTest, name: str) -> AppTest:
    at.text_input(key="enroll_name").set_value(name).run()
    return at


def primary(at: AppTest) -> list[str]:
    return [button.label for button in at.button if button.proto.type == "primary" and not button.disabled]


def test_an_uploaded_photo_is_enrolled_and_searchable(
    open_page: Callable[..., AppTest], shared: Resources, photos: dict[str, bytes], variants: dict[str, bytes]
) -> None:
    at = upload(say_who(open_page("enroll"), "Eileen Collins"), ("eileen.png", photos["astronaut"]))
    assert at.text_input(key="enroll_id").placeholder == "eileen-collins"
    at.button(key="enroll_save").click().run()
    assert "Eileen Collins is enrolled" in words_of(at)
    assert "1 photo saved. Robi recognises this person from now on." in words_of(at)
    assert shared.service.recognition.verify(variants["astronaut"]).search.best.user_id == "eileen-collins"  # type: ignore[union-attr]


def test_a_taken_photo_is_enrolled(
    open_page: Callable[..., AppTest], shared: Resources, variants: dict[str, bytes]
) -> None:
    at = choose_tab(say_who(open_page("enroll"), "Eileen Collins"), "Take a photo")
    at.camera_input[0].upload("photo.jpg", variants["astronaut"])
    at.run()
    at.button(key="enroll_save").click().run()
    (info,) = shared.service.people.templates("eileen-collins")
    assert info.via == "webcam"


def test_every_photo_gets_its_verdict(open_page: Callable[..., AppTest], photos: dict[str, bytes]) -> None:
    at = upload(
        open_page("enroll"),
        ("good.png", photos["astronaut"]),
        ("six.jpg", photos["group"]),
        ("notes.txt", b"these are words, not a picture"),
        ("cut.png", photos["astronaut"][:20_000]),
        ("moving.gif", b"GIF89a" + bytes(64)),
    )
    said = words_of(at)
    assert "1 good photo" in said
    assert "More than one person. Only one may be in the picture." in said
    assert "Text files are not accepted. Save it as JPEG or PNG." in said
    assert "GIF files are not accepted. Save it as JPEG or PNG." in said
    assert said.count("[!]") == 4


def test_nothing_is_saved_without_a_name_or_a_good_photo(
    open_page: Callable[..., AppTest], photos: dict[str, bytes]
) -> None:
    at = upload(open_page("enroll"), ("good.png", photos["astronaut"]))
    assert at.button(key="enroll_save").disabled
    at = upload(say_who(open_page("enroll"), "Six People"), ("six.jpg", photos["group"]))
    assert at.button(key="enroll_save").disabled


@pytest.mark.parametrize(
    ("name", "said"),
    [("An\u200ba", "a character that nobody sees"), ("😀😀", "The name has no letter.")],
)
def test_a_bad_name_is_refused_in_words(
    open_page: Callable[..., AppTest], shared: Resources, photos: dict[str, bytes], name: str, said: str
) -> None:
    at = upload(say_who(open_page("enroll"), name), ("good.png", photos["astronaut"]))
    at.button(key="enroll_save").click().run()
    for _ in range(3):  # as the page draws itself again
        assert said in words_of(at)
        at.run()
    assert shared.service.people.listing().total == 0
    assert said not in words_of(say_who(at, "Ana"))  # what it was about is different now


def test_an_id_that_is_written_by_hand_is_kept(open_page: Callable[..., AppTest]) -> None:
    at = open_page("enroll")
    at.text_input(key="enroll_id").set_value("badge-17").run()
    assert say_who(at, "Ana Ruiz").text_input(key="enroll_id").value == "badge-17"


def press(at: AppTest, words: str) -> AppTest:
    next(button for button in at.button if words in button.label).click()
    at.run()
    assert not at.exception
    return at


def test_somebody_known_is_found_and_given_the_photos_when_that_is_confirmed(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    at = upload(say_who(open_page("enroll"), "New Name"), ("again.jpg", variants["astronaut"]))
    said = words_of(at)
    assert "This photo looks like Eileen Collins" in said
    assert re.search(r"alike. Similarity 0.\d\d", said)
    assert primary(at) == []  # neither answer is the usual one
    press(at, "Yes: add this photo to Eileen Collins")
    assert demo.people.person("eileen-collins").templates == 1  # it was asked only
    assert primary(at) == ["Add to Eileen Collins"]
    press(at, "Back")
    assert primary(at) == []
    press(press(at, "Yes: add"), "Add to Eileen Collins")
    assert "Eileen Collins was given more photos" in words_of(at)
    assert demo.people.person("eileen-collins").templates == 2


@pytest.mark.parametrize("kept", [True, False])
def test_both_faces_are_shown_side_by_side_where_photos_are_kept(
    open_page: Callable[..., AppTest],
    make_service: Callable[..., RobiService],
    photos: dict[str, bytes],
    variants: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    *,
    kept: bool,
) -> None:
    service = make_service(robi_keep_images=kept)
    monkeypatch.setattr(resources, "_open", Resources(service.settings, service, LiveSessions(service)))
    service.enrollment.enroll("ana", "Ana", [("a.png", photos["astronaut"])])
    at = upload(open_page("enroll"), ("again.jpg", variants["astronaut"]))
    said = words_of(at)
    assert "New photo" in said
    assert ("No photo is kept" in said) is not kept


def test_somebody_known_can_be_enrolled_anew(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    at = upload(say_who(open_page("enroll"), "Her Twin"), ("twin.jpg", variants["astronaut"]))
    press(at, "No: enroll Her Twin as somebody else")
    assert "Her Twin is enrolled" in words_of(at)
    assert demo.people.listing().total == 9


def test_starting_over_forgets_photos_and_name(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    at = upload(say_who(open_page("enroll"), "Ana"), ("again.jpg", variants["astronaut"]))
    press(at, "Discard and start over")
    assert "0 good photos" in words_of(at)
    assert [field.value for field in at.text_input] == ["", ""]
    assert demo.people.person("eileen-collins").templates == 1


def test_photos_are_added_to_the_person_of_the_link(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    at = upload(open_page("enroll", person="eileen-collins"), ("more.jpg", variants["astronaut"]))
    assert primary(at) == ["Add to Eileen Collins"]
    at.button(key="enroll_save").click().run()
    assert demo.people.person("eileen-collins").templates == 2


def test_an_id_that_is_taken_is_added_to_only_when_confirmed(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    at = upload(say_who(open_page("enroll"), "Somebody"), ("more.jpg", variants["astronaut"]))
    at.text_input(key="enroll_id").set_value("eileen-collins").run()
    assert "The ID eileen-collins belongs to Eileen Collins." in words_of(at)
    press(at, "Add to Eileen Collins …")
    assert demo.people.person("eileen-collins").templates == 1


@pytest.mark.parametrize("by_link", [True, False])
def test_who_was_erased_meanwhile_is_not_enrolled_again_by_a_button_that_was_drawn_before(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes], *, by_link: bool
) -> None:
    if by_link:
        at = upload(open_page("enroll", person="eileen-collins"), ("more.jpg", variants["astronaut"]))
    else:
        at = upload(say_who(open_page("enroll"), "Somebody"), ("more.jpg", variants["astronaut"]))
        press(at, "Yes: add")
    demo.erasures.erase("eileen-collins")
    press(at, "Add to Eileen Collins")
    said = words_of(at)
    assert "Eileen Collins was erased meanwhile." in said
    assert "the photos are still here" in said
    assert "1 good photo" in said
    assert demo.people.listing().total == 7
    press(say_who(at, "Eileen the Second"), "Save Eileen the Second")
    assert "Eileen the Second is enrolled" in words_of(at)


def test_two_photos_of_somebody_known_are_called_photos(
    open_page: Callable[..., AppTest], demo: RobiService, photos: dict[str, bytes], variants: dict[str, bytes]
) -> None:
    both = (("one.jpg", photos["astronaut"]), ("two.jpg", variants["astronaut"]))
    at = upload(open_page("enroll"), *both)
    assert "These photos look like Eileen Collins" in words_of(at)


def test_the_very_photo_counts_once(
    open_page: Callable[..., AppTest], shared: Resources, photos: dict[str, bytes]
) -> None:
    at = upload(open_page("enroll"), ("one.png", photos["astronaut"]), ("two.png", photos["astronaut"]))
    assert "1 good photo" in words_of(at)
    assert "The same photo as another one" in words_of(at)


def test_photos_of_somebody_else_are_not_added(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    at = upload(open_page("enroll", person="eileen-collins"), ("tom.jpg", variants["hanks"]))
    assert "This photo looks like Tom Hanks" in words_of(at)
    assert not any(button.label.startswith("No:") for button in at.button)


def test_photos_of_several_people_are_told_apart_before_they_are_saved(
    open_page: Callable[..., AppTest], shared: Resources, photos: dict[str, bytes], variants: dict[str, bytes]
) -> None:
    tom, eileen = ("tom.jpg", photos["hanks"]), ("eileen.png", photos["astronaut"])
    at = upload(say_who(open_page("enroll"), "Eileen"), tom, eileen)
    assert "These show 2 different people" in words_of(at)
    assert "0 good photos" in words_of(at)
    assert at.button(key="enroll_save").disabled
    at.file_uploader[0].upload("more.jpg", variants["astronaut"])
    at.run()
    said = words_of(at)
    assert "These show 2 different people" in said
    assert "2 good photos" in said
    assert "This is not the person in the other photos. Remove it." in said
    at.button(key="enroll_save").click().run()
    assert shared.service.people.person("eileen").templates == 2


def test_what_was_put_in_stays_over_other_tabs_and_other_pages(
    open_page: Callable[..., AppTest], shared: Resources, photos: dict[str, bytes]
) -> None:
    at = upload(say_who(open_page("enroll"), "Ana Ruiz"), ("ana.png", photos["astronaut"]))
    choose_tab(choose_tab(at, "Live"), "Upload")
    assert "1 good photo" in words_of(at)
    at.switch_page("../pages/people.py").run()
    at.switch_page("../pages/enroll.py").run()
    choose_tab(at, "Upload")
    assert "1 good photo" in words_of(at)
    assert at.text_input(key="enroll_name").value == "Ana Ruiz"


def test_photos_of_an_expired_camera_session_stay(
    open_page: Callable[..., AppTest], shared: Resources, variants: dict[str, bytes]
) -> None:
    at = open_page("enroll")
    session = shared.live.get(draft_of(at).token)
    assert isinstance(session, EnrollLive)
    session.process(variants["astronaut"])
    session.capture()
    session.process(variants["astronaut"])
    at.run()
    assert "1 good photo" in words_of(at)
    shared.live.close(session.token)
    at.run()
    assert "1 good photo" in words_of(at)
    renewed = shared.live.get(draft_of(at).token)
    assert isinstance(renewed, EnrollLive)
    assert len(renewed.samples) == 1
    press(at, "Remove")
    assert "0 good photos" in words_of(at)


def test_the_button_of_the_camera_says_when_there_is_nobody_to_take(
    open_page: Callable[..., AppTest], shared: Resources
) -> None:
    at = open_page("enroll")
    session = shared.live.get(draft_of(at).token)
    assert isinstance(session, EnrollLive)
    session.process(jpeg(np.full((480, 640, 3), 127, np.uint8)))
    press(at, "Take a photo now")
    at.run()
    assert "No photo was taken. No face found." in words_of(at)


def draft_of(at: AppTest) -> Draft:
    return at.session_state["enroll_drafts"][""]  # type: ignore[no-any-return]


def test_who_was_saved_is_not_named_when_erased_since(
    open_page: Callable[..., AppTest], shared: Resources, photos: dict[str, bytes]
) -> None:
    at = upload(say_who(open_page("enroll"), "Eileen Collins"), ("eileen.png", photos["astronaut"]))
    at.button(key="enroll_save").click().run()
    assert "Eileen Collins is enrolled" in words_of(at)
    shared.service.erasures.erase("eileen-collins")
    at.run()
    assert "Eileen" not in words_of(at)


def test_the_camera_gets_a_session_that_the_server_knows(
    open_page: Callable[..., AppTest], shared: Resources
) -> None:
    at = open_page("enroll")
    token = draft_of(at).token
    assert shared.live.get(token) is not None
    shared.live.close(token)
    at.run()
    assert shared.live.get(draft_of(at).token) is not None
