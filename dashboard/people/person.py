"""One person: their photos, what happened, and what can be done."""

from __future__ import annotations

import streamlit as st

from core.domain.people import Person
from core.domain.templates import TemplateInfo
from core.domain.validation import MAX_NAME
from core.services.service import RobiService
from dashboard.people import everybody
from dashboard.people.erasing import erase
from dashboard.shared import history, resources, widgets, words


def _service() -> RobiService:
    return resources.get().service


def show(person: Person) -> None:
    with (
        widgets.header(words.plain(person.name), f"ID {words.plain(person.user_id)}"),
        st.container(horizontal=True, horizontal_alignment="right"),
    ):
        if st.button("Add photos", icon=":material/add_a_photo:", type="primary"):
            st.switch_page(widgets.page("enroll"), query_params={"person": person.user_id})
        more = st.menu_button("More", ["Rename", "Erase"], key="person_more")
        if more == "Rename":
            _rename(person)
        elif more == "Erase":
            erase(person)
    everybody.back()
    matched = widgets.when(person.last_matched_at, never="never yet")
    st.html(f"Enrolled {widgets.when(person.created_at)} · last recognised {matched}")
    if person.photo_asked_at:
        _show_request(person)
    _show_photos(_service().people.templates(person.user_id))
    events = _service().events.listing(limit=10, user_id=person.user_id).items
    if events:
        st.header("What happened", anchor=False)
        with st.container(border=True):
            history.show(events)


@st.dialog("Rename", icon=":material/edit:")
def _rename(person: Person) -> None:
    with st.form("rename", border=False):  # in a form, Enter saves
        name = st.text_input("Name", value=person.name, max_chars=MAX_NAME)
        saved = st.form_submit_button("Save", type="primary")
    if saved:
        renamed = widgets.trying(lambda: _service().people.update(person.user_id, name=name))
        if renamed is None:
            return
        widgets.flash(f"{words.plain(person.name)} is now called {words.plain(renamed.name)}.")
        st.rerun()


def _show_photos(infos: tuple[TemplateInfo, ...]) -> None:
    st.header("Photos", anchor=False)
    via = {"webcam": "camera", "upload": "upload", "api": "API", "demo": "demo gallery"}
    with st.grid("auto", min_column_width=150):
        for number, info in enumerate(infos, start=1):
            with st.container(border=True):
                if info.thumbnail:
                    st.image(info.thumbnail, width="stretch", alt=f"Photo {number}")
                st.progress(info.quality, text=f"Photo {number} · quality {info.quality:.2f}")
                st.html(
                    f'<span class="robi-quiet">{via.get(info.via, words.escape(info.via))} · '
                    f"{widgets.when(info.created_at)}</span>"
                )
    if not any(info.thumbnail for info in infos):
        st.caption(
            "No picture of these photos was kept."
            if _service().settings.robi_keep_images
            else "Pictures are not kept. Whoever runs Robi can have a small one of each photo kept: "
            "ROBI_KEEP_IMAGES on the Settings page."
        )


def _show_request(person: Person) -> None:
    so_far = (
        "There is only one photo so far"
        if person.templates == 1
        else "The photos so far match each other poorly"
    )
    st.info(
        f"{so_far}. Add one with good light, facing the camera.",
        title="A better photo is wanted.",
        icon=":material/add_a_photo:",
    )
    if st.button("Not needed", key="photo_not_needed"):
        withdrawn = widgets.trying(lambda: _service().people.ask_for_photo(person.user_id, asked=False))
        if withdrawn:
            st.rerun()
