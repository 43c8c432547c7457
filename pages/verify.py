"""Recognise faces, live or in a photo."""

from __future__ import annotations

import streamlit as st

from dashboard.shared import resources, widgets
from dashboard.verify import choices, live, photo

service = resources.get().service


def show_tabs(person: str | None) -> None:
    live_tab, photo_tab = st.tabs(["Live", "Photo"], key="verify_tabs", on_change="rerun")
    for tab, show in ((live_tab, live.show), (photo_tab, photo.show)):
        if tab.open:
            with tab:
                if st.session_state["verify_mode"] == "One person" and person is None:
                    choices.wait_for_person()
                else:
                    show(person)


place = widgets.header("Verify", "Who is this? Look into the camera, or check a photo.")
if service.people.counts().people == 0:
    widgets.nobody_yet("Nobody is enrolled yet, so nobody can be recognised.")
else:
    with place:
        chosen = choices.choose_person()
    show_tabs(chosen)
