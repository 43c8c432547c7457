"""Recognise faces, live or in a photo."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from core.faces.quality import advice
from core.live import VerifyLive, VerifySnapshot
from core.types import Strategy, VerifyOptions
from dashboard import pictures, resources, widgets, words
from dashboard.camera import UNUSABLE, camera

MOST_PEOPLE = 500

shared = resources.get()
service, settings = shared.service, shared.settings


def choose_person() -> str | None:
    """Who a face is compared with one to one; None for a search of everybody."""
    mode = st.segmented_control(
        "Check against",
        ["Everybody", "One person"],
        default="Everybody",
        required=True,
        key="verify_mode",
        label_visibility="collapsed",
        help="Everybody: who is this? One person: is this really …?",
    )
    if mode == "Everybody":
        return None
    found = service.people(limit=MOST_PEOPLE)
    if found.total > MOST_PEOPLE:  # a longer list would not be chosen from, but typed into
        typed = st.text_input("ID of the person", key="verify_person_id", placeholder="ana-ruiz")
        return typed.strip() or None
    people = {person.user_id: person.name for person in found.items}
    alike = {name for name, number in Counter(people.values()).items() if number > 1}

    def called(user_id: str) -> str:
        name = people.get(user_id, user_id)
        return f"{name} ({user_id})" if name in alike else name

    return st.selectbox(
        "Person",
        people,
        index=None,
        key="verify_person",
        placeholder="Is this really …?",
        label_visibility="collapsed",
        format_func=called,
    )


def choose_how(user_id: str | None) -> VerifyOptions:
    # The controls begin anew when an engineer changes the tuning: hence its values in their keys.
    tuning = service.tuning
    strategy = st.segmented_control(
        "Strategy",
        list(Strategy),
        default=tuning.strategy,
        required=True,
        key=f"verify_strategy_{tuning.strategy}",
        format_func=words.STRATEGY.__getitem__,
        help=words.STRATEGY_HELP,
    )
    threshold = st.slider(
        "Threshold",
        min(0.20, tuning.threshold),
        max(0.80, tuning.threshold),
        tuning.threshold,
        0.01,
        key=f"verify_threshold_{tuning.threshold}",
        format="%.2f",
        help="Similarity from which a face counts as a person. Higher is stricter.",
    )
    return VerifyOptions(Strategy(strategy), float(threshold), user_id)


# ---------------------------------------------------------------- live


def live_session(options: VerifyOptions) -> VerifyLive:
    """This tab's session; a new one when the old one has expired."""
    session = shared.live.get(st.session_state.get("verify_token", ""))
    if not isinstance(session, VerifyLive):
        session = shared.live.open_verify(options)
        st.session_state["verify_token"] = session.token
    session.options = options
    return session


def show_live(user_id: str | None) -> None:
    left, right = st.columns([3, 2], gap="medium")
    with right:
        place = st.container()  # the answer stands above the controls that shape it
        options = choose_how(user_id)
    session = live_session(options)
    with left:
        status = camera(session.token, key="verify_camera")
        if status in UNUSABLE:
            st.button("Use a photo instead", icon=":material/photo_camera:", on_click=use_photo)
    with place:

        @st.fragment(run_every=0.5)
        def beside() -> None:
            if shared.live.get(session.token) is None:
                st.rerun()
            show_snapshot(session.snapshot())

        beside()


def use_photo() -> None:
    st.session_state["verify_tabs"] = "Photo"


def show_snapshot(seen: VerifySnapshot) -> None:
    with st.container(border=True, key="verify_live"):
        if seen.faces:
            first = seen.faces[0]
            widgets.result(first.search, first.note)
            others = len(seen.faces) - 1
        else:
            widgets.waiting("Waiting for a face" if seen.connected else "Waiting for the camera")
            others = 0
    more = f"{words.count(others, 'more face')} in view · " if others else ""
    st.caption(more + (words.stages(seen.latency_ms) if seen.latency_ms and seen.connected else " "))
    if seen.error:
        widgets.show_failure(seen.error)


# ---------------------------------------------------------------- photo


def show_photo(user_id: str | None) -> None:
    left, right = st.columns([3, 2], gap="medium")
    with left:
        photo = pictures.one_photo("verify", settings)
        place = st.container()
        with st.expander("Strategy and threshold", icon=":material/tune:"):
            options = choose_how(user_id)
    with place:
        if photo is None:
            return
        found = widgets.trying(lambda: pictures.check(service, photo, options))
        if found is None:
            return
        st.image(
            pictures.annotated(service, photo.data, found.faces),
            width="stretch",
            alt=f"The photo with {words.count(len(found.faces), 'face')} marked",
        )
        st.caption(words.stages(found.latency_ms))
    with right:
        if not found.faces:
            st.warning("Show the whole face, facing the camera.", title="No face was found in the photo.")
        for number, face in enumerate(found.faces, start=1):
            with st.container(border=True):
                if len(found.faces) > 1:
                    st.caption(f"Face {number}")
                widgets.result(face.search, advice(face.face.quality))


def wait_for_person() -> None:
    with st.container(border=True):
        widgets.waiting("Choose the person to compare with")


def show_tabs(person: str | None) -> None:
    live_tab, photo_tab = st.tabs(["Live", "Photo"], key="verify_tabs", on_change="rerun")
    for tab, show in ((live_tab, show_live), (photo_tab, show_photo)):
        if tab.open:
            with tab:
                if st.session_state["verify_mode"] == "One person" and person is None:
                    wait_for_person()
                else:
                    show(person)


place = widgets.header("Verify", "Who is this? Look into the camera, or check a photo.")
if service.counts().people == 0:
    widgets.nobody_yet("Nobody is enrolled yet, so nobody can be recognised.")
else:
    with place:
        chosen = choose_person()
    show_tabs(chosen)
