"""The list of everybody, searched as one types."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from core.domain.listing import Page
from core.domain.people import Person
from core.domain.validation import MAX_QUERY
from core.services.service import RobiService
from dashboard.shared import resources, widgets, words

PER_PAGE = 25
_SEARCHED = "people_searched"  # the query of the list, to come back to the same list


def _service() -> RobiService:
    return resources.get().service


@st.fragment
def show() -> None:
    trail = st.session_state.setdefault("people_trail", [None])
    query = st.text_input(
        "Search",
        type="search",
        live="250ms",
        placeholder="Name or ID",
        key="q",
        bind="query-params",
        icon=":material/search:",
        label_visibility="collapsed",
        on_change=_back_to_first,
        max_chars=MAX_QUERY,
    )
    st.session_state[_SEARCHED] = {"q": query} if query else {}
    found: Page[Person] = _service().people.listing(query=query or "", limit=PER_PAGE, cursor=trail[-1])
    if not found.items:
        st.markdown(f"Nobody is called “{words.plain(query or '')}”, and no ID looks like it.")
        return
    with st.container(border=True, gap="xsmall", key="people_list"):
        for person in found.items:
            _show_row(person)
    noun = words.count(found.total, "person", "people")
    widgets.pager("people_trail", found, noun, PER_PAGE)


def back() -> None:
    with st.container(key="people_back"):
        st.page_link(
            widgets.page("people"),
            label="All people",
            icon=":material/arrow_back:",
            query_params=st.session_state.get(_SEARCHED, {}),
        )


def _back_to_first() -> None:
    st.session_state["people_trail"] = [None]


def _show_row(person: Person) -> None:
    seen = person.last_matched_at
    recognised = f"recognised {words.ago(seen, datetime.now(UTC))}" if seen else "not recognised yet"
    about = f"{words.plain(person.user_id)} · {words.count(person.templates, 'photo')} · {recognised}"
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", gap=None
    ):
        st.page_link(
            widgets.page("people"),
            label=f"**{words.plain(person.name)}**",
            icon=":material/person:",
            query_params={"person": person.user_id},
        )
        with st.container(horizontal=True, width="content", gap="xsmall", vertical_alignment="center"):
            if person.photo_asked_at:  # not inside the caption, which would make it too pale
                st.badge("new photo wanted", icon=":material/add_a_photo:", color="orange")
            st.caption(about, width="content")
