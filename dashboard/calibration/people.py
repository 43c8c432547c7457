"""What the two lists of people on the calibration page share: a few at first, with links and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

import streamlit as st

from core.calibration import export
from core.calibration.people import Study
from core.domain.errors import NotFound
from core.domain.people import Person
from core.services.service import RobiService
from dashboard.shared import widgets, words

SHOWN = 5  # of each list, until more are asked for

T = TypeVar("T")
End = tuple[str, int]
"""One of two people: the ID, and the template that resembles the other's most."""


def shown(living: Iterator[T], key: str) -> list[T]:
    """As many as are asked for; remembers whether there are more, for `more`."""
    found = list(islice(living, st.session_state.get(key, SHOWN) + 1))
    most = st.session_state.setdefault(key, SHOWN)
    st.session_state[f"{key}_left"] = len(found) > most
    return found[:most]


def more(key: str, what: str) -> None:
    """The button that lengthens a list which `shown` has cut."""

    def lengthen() -> None:
        st.session_state[key] += 2 * SHOWN

    if st.session_state[f"{key}_left"]:
        st.button(f"Show more {what}", key=f"{key}_more", icon=":material/expand_more:", on_click=lengthen)


def living(service: RobiService, user_id: str) -> Person | None:
    """The person as enrolled now; None for who is gone since the gallery was measured."""
    try:
        return service.people.person(user_id)
    except NotFound:
        return None


def link(person: Person) -> None:
    """Leads to the person's own page."""
    st.page_link(
        widgets.page("people"),
        label=f"**{words.plain(person.name)}** · {words.plain(person.user_id)}",
        icon=":material/person:",
        query_params={"person": person.user_id},
    )


def faces(service: RobiService, wanted: tuple[End, ...], *, width: int = 72) -> None:
    """The templates' small pictures, where pictures are kept."""
    if not service.settings.robi_keep_images:
        return
    with st.container(horizontal=True, width="content", gap="xsmall"):
        for user_id, template_id in wanted:
            infos = service.people.templates(user_id)
            found = next((info.thumbnail for info in infos if info.template_id == template_id), None)
            if found:
                st.image(found, width=width, alt="Enrolled photo")


def downloads(service: RobiService, study: Study) -> None:
    """Download both lists by ID."""
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.download_button(
            "JSON of these lists",
            lambda: json.dumps(export.of_study(study, service.people.pairs()), indent=1),
            f"robi-people-{study.made_at:%Y%m%d-%H%M%S}.json",
            "application/json",
            key="calibration_people_json",
            on_click="ignore",
            icon=":material/download:",
            help="By ID, as they were measured. It is about people: keep it among those who may see them.",
        )
