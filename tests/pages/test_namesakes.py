"""People of one name are told apart by their ID, wherever they are named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from streamlit.testing.v1 import AppTest

from core.domain.templates import NewTemplate
from core.services.demo import demo_photos
from core.services.service import RobiService
from tests.pages.conftest import words_of


def add(service: RobiService, user_id: str, name: str, seed: int) -> None:
    vector = np.random.default_rng(seed).standard_normal(service.engine.pack.dimension).astype(np.float32)
    service.ledger.people.enroll(user_id, name, [NewTemplate(vector, 0.8, "upload")])


def test_namesakes_and_look_alikes_are_told_apart_in_a_search(service: RobiService) -> None:
    photo = demo_photos()[-1].path.read_bytes()
    service.enrollment.enroll("ana", "Ana Ruiz", [("a.png", photo)])
    search = service.recognition.verify(photo).search
    assert service.names.told_apart(search) is search  # nobody else is called so
    add(service, "ana-2", "ANA ruíz", 1)
    add(service, "eva", "\u0415va", 2)  # a Cyrillic E
    add(service, "eva-2", "Eva", 3)
    add(service, "bo", "Bo", 4)
    best = service.names.told_apart(service.recognition.verify(photo).search).best
    assert best is not None
    assert best.name == "Ana Ruiz (ana)"
    assert service.names.shared(["ana", "ana-2", "eva", "eva-2", "bo"]) == {"ana", "ana-2", "eva", "eva-2"}
    assert service.names.called("bo", "Bo") == "Bo"
    service.erasures.erase("ana-2")
    assert service.names.called("ana", "Ana Ruiz") == "Ana Ruiz"


def test_events_say_which_of_them(open_page: Callable[..., AppTest], service: RobiService) -> None:
    add(service, "ana", "Ana Ruiz", 1)
    add(service, "bo", "Bo", 2)
    add(service, "ana-2", "Ana Ruiz", 3)
    labels = [link.proto.label.replace("\\", "") for link in open_page("events").get("page_link")]
    told = [label for label in labels if label.startswith("**")]
    assert told == ["**Ana Ruiz** (ana-2)", "**Bo**", "**Ana Ruiz** (ana)"]


def test_a_name_that_is_there_is_said_while_it_is_typed(
    open_page: Callable[..., AppTest], service: RobiService
) -> None:
    add(service, "lukasz", "Łukasz", 1)
    at = open_page("enroll")
    assert "enrolled already" not in words_of(at)
    at.text_input(key="enroll_name").set_value("lukasz").run()
    assert "Somebody of this name is enrolled already. ID lukasz." in words_of(at)
    at.text_input(key="enroll_name").set_value("Lukas").run()
    assert "enrolled already" not in words_of(at)
