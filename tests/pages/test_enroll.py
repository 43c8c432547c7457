"""Enrolling on the page: photos with verdicts, who it is, and what happens when somebody is known already."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from core.service import RobiService
from dashboard.resources import Resources
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
    assert shared.service.verify(variants["astronaut"]).search.best.user_id == "eileen-collins"  # type: ignore[union-attr]


def test_a_taken_photo_is_enrolled(
    open_page: Callable[..., AppTest], shared: Resources, variants: dict[str, bytes]
) -> None:
    at = choose_tab(say_who(open_page("enroll"), "Eileen Collins"), "Take a photo")
    at.camera_input[0].upload("photo.jpg", variants["astronaut"])
    at.run()
    at.button(key="enroll_save").click().run()
    (info,) = shared.service.template_infos("eileen-collins")
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
    [("😀😀", "The name has a character that no name has."), ("?!", "The name has no letter.")],
)
def test_a_bad_name_is_refused_in_words(
    open_page: Callable[..., AppTest], shared: Resources, photos: dict[str, bytes], name: str, said: str
) -> None:
    at = upload(say_who(open_page("enroll"), name), ("good.png", photos["astronaut"]))
    at.button(key="enroll_save").click().run()
    assert said in words_of(at)
    assert shared.service.people().total == 0


def test_an_id_that_is_written_by_hand_is_kept(open_page: Callable[..., AppTest]) -> None:
    at = open_page("enroll")
    at.text_input(key="enroll_id").set_value("badge-17").run()
    assert say_who(at, "Ana Ruiz").text_input(key="enroll_id").value == "badge-17"


def test_somebody_known_is_found_and_given_the_photos(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    at = upload(say_who(open_page("enroll"), "New Name"), ("again.jpg", variants["astronaut"]))
    assert "This photo looks like Eileen Collins" in words_of(at)
    assert primary(at) == ["Add this photo to Eileen Collins"]
    next(button for button in at.button if button.label.startswith("Add this")).click().run()
    assert "Eileen Collins was given more photos" in words_of(at)
    assert demo.person("eileen-collins").templates == 2


def test_somebody_known_can_be_enrolled_anew(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    at = upload(say_who(open_page("enroll"), "Her Twin"), ("twin.jpg", variants["astronaut"]))
    next(button for button in at.button if "anyway" in button.label).click().run()
    assert "Her Twin is enrolled" in words_of(at)
    assert demo.people().total == 9


def test_cancel_forgets_the_photos(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    at = upload(open_page("enroll"), ("again.jpg", variants["astronaut"]))
    next(button for button in at.button if button.label == "Cancel").click().run()
    assert "0 good photos" in words_of(at)
    assert demo.person("eileen-collins").templates == 1


def test_photos_are_added_to_the_person_of_the_link(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    at = upload(open_page("enroll", person="eileen-collins"), ("more.jpg", variants["astronaut"]))
    assert primary(at) == ["Add to Eileen Collins"]
    at.button(key="enroll_save").click().run()
    assert demo.person("eileen-collins").templates == 2


def test_two_photos_of_somebody_known_are_called_photos(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    photos = (("one.jpg", variants["astronaut"]), ("two.jpg", variants["astronaut"]))
    at = upload(open_page("enroll"), *photos)
    assert "These photos look like Eileen Collins" in words_of(at)
    assert primary(at) == ["Add these photos to Eileen Collins"]


def test_photos_of_somebody_else_are_not_added(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    at = upload(open_page("enroll", person="eileen-collins"), ("tom.jpg", variants["hanks"]))
    assert "This photo looks like Tom Hanks" in words_of(at)


def test_the_camera_gets_a_session_that_the_server_knows(
    open_page: Callable[..., AppTest], shared: Resources
) -> None:
    at = open_page("enroll")
    token = at.session_state["enroll_token"]
    assert shared.live.get(token) is not None
    shared.live.close(token)
    at.run()
    assert shared.live.get(at.session_state["enroll_token"]) is not None
