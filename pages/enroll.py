"""Add a person, or more photos of one."""

from __future__ import annotations

import streamlit as st

from core.domain.people import EnrollResult, Person
from dashboard.enroll import done, enrolling, saving, sources
from dashboard.enroll.tab import tab
from dashboard.shared import resources, widgets, words
from dashboard.shared.drafts import Draft

shared = resources.get()
service = shared.service


def start_over() -> None:
    enrolling.discard(this_tab, target)
    st.query_params.clear()


def show_form(draft: Draft, named: Person | None) -> None:
    left, right = st.columns([3, 2], gap="medium")
    with left:
        sources.show(shared, draft)
    with right:
        if named is None:
            saving.ask_who(service)

        @st.fragment(run_every=0.5)
        def beside() -> None:
            if enrolling.DONE in st.session_state or is_stale(draft, named):
                st.rerun()  # before the draft is kept, or one that was discarded would be there again
            enrolling.look_at_camera(shared.live, draft)
            enrolling.keep_draft(this_tab, target, draft)
            saving.Saving(this_tab, target, draft, sources.chosen(), named).show()

        beside()


def is_stale(draft: Draft, named: Person | None) -> bool:
    """Whether what the page was drawn for is over: the draft discarded, or the person erased."""
    gone = named is not None and enrolling.person(service, named.user_id) is None
    return gone or not enrolling.is_open(draft, target)


this_tab = tab()
target = st.query_params.get("person", "")
named = enrolling.person(service, target)
title = f"Add photos of {words.plain(named.name)}" if named else "Enroll"
widgets.header(title, "Show a face to the camera, or choose photos; Robi says what is good enough.")
if named is None and target:
    st.warning("Nobody is enrolled under this ID; you can enroll a new person here.")
result: EnrollResult | None = st.session_state.get(enrolling.DONE)
if result:
    done.show(service, result, start_over)
else:
    show_form(enrolling.open_draft(this_tab, target), named)
