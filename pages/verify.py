"""Recognise faces, live or in a photo."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.domain.bounds import PAGE_SIZE
from core.domain.recognition import VerifyOptions
from core.domain.search import Strategy
from core.faces.quality import advice, sentence
from core.live import VerifyLive, VerifySnapshot
from dashboard.shared import pictures, resources, widgets, words
from dashboard.shared.camera.camera import UNUSABLE, camera

MOST_PEOPLE = int(PAGE_SIZE.high)

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
    found = service.people.listing(limit=MOST_PEOPLE)
    if found.total > MOST_PEOPLE:  # a longer list would not be chosen from, but typed into
        typed = st.text_input("ID of the person", key="verify_person_id", placeholder="ana-ruiz")
        return typed.strip() or None
    people = {person.user_id: person.name for person in found.items}
    alike = service.names.shared(people)

    def called(user_id: str) -> str:
        name = people.get(user_id, user_id)
        return f"{name} ({user_id})" if user_id in alike else name

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
    """What the operator asks for; what they leave alone is as tuned, also when the tuning changes."""
    # The controls begin anew when an engineer changes the tuning: hence its values in their keys.
    tuning = service.tuning.now
    strategy = tuning.strategy
    if user_id is None:  # one to one nothing is searched
        strategy = st.segmented_control(
            "Strategy",
            list(Strategy),
            default=tuning.strategy,
            required=True,
            key=f"verify_strategy_{tuning.strategy}",
            format_func=words.STRATEGY.__getitem__,
            help=words.STRATEGY_HELP,
        )
    loosest = 0.20 if settings.robi_allow_looser_threshold else tuning.threshold
    threshold = st.slider(
        "Threshold",
        min(loosest, tuning.threshold),
        max(0.80, tuning.threshold + 0.05),
        tuning.threshold,
        0.01,
        key=f"verify_threshold_{tuning.threshold}",
        format="%.2f",
        help="Similarity from which a face counts as a person. "
        f"{words.threshold(tuning.threshold)} is in effect; higher is stricter.",
    )
    return VerifyOptions(
        None if strategy == tuning.strategy else Strategy(strategy),
        None if threshold == tuning.threshold else float(threshold),
        user_id,
    )


def details() -> DeltaGenerator:
    return st.expander("Details", icon=":material/tune:")


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
        place = st.container()  # the answer stands above what shapes it
        with details():
            options = choose_how(user_id)
    session, tuning = live_session(options), service.tuning.now
    with left:
        status = camera(session.token, key="verify_camera")
        if status in UNUSABLE:
            st.button("Use a photo instead", icon=":material/photo_camera:", on_click=use_photo)
    with place:

        @st.fragment(run_every=0.5)
        def beside() -> None:
            if shared.live.get(session.token) is None or service.tuning.now != tuning:
                st.rerun()
            show_snapshot(session.snapshot())

        beside()


def use_photo() -> None:
    st.session_state["verify_tabs"] = "Photo"


def show_snapshot(seen: VerifySnapshot) -> None:
    with st.container(border=True, key="verify_live"):
        widgets.instead()
        with st.container(key="verify_verdict"):
            if seen.faces:
                show_faces(seen)
            else:
                widgets.waiting("Waiting for a face" if seen.connected else "Waiting for the camera")
            timings = words.stages(seen.latency_ms) if seen.latency_ms and seen.connected else " "
            st.caption(timings)
            if seen.error:
                widgets.show_failure(seen.error)


def show_faces(seen: VerifySnapshot) -> None:
    """One face in full; of several each in short, by the numbers that they have in the picture."""
    if len(seen.faces) == 1 and not seen.more:
        (face,) = seen.faces
        if face.search:
            widgets.result(face.search, face.note)
        else:
            widgets.waiting("Looking …")
        return
    faces = sorted(seen.faces, key=lambda face: face.number)
    widgets.results([(face.number, face.search) for face in faces], seen.more)


# ---------------------------------------------------------------- photo


def show_photo(user_id: str | None) -> None:
    left, right = st.columns([3, 2], gap="medium")
    with left:
        photo = pictures.one_photo("verify", settings)
        place = st.container()
        with details():
            options = choose_how(user_id)
    with place:
        if photo is None:
            return
        found = widgets.trying(lambda: pictures.check(service, photo, options))
        if found is None:
            return
        faces = tuple(replace(face, search=service.names.told_apart(face.search)) for face in found.faces)
        st.image(
            pictures.annotated(service, photo.data, faces),
            width="stretch",
            alt=f"The photo with {words.count(len(found.faces), 'face')} marked",
        )
        st.caption(words.stages(found.latency_ms))
    with right:
        for reason in found.warnings:
            st.warning(sentence(reason))
        if not found.faces:
            st.warning("Show the whole face, facing the camera.", title="No face was found in the photo.")
        for number, face in enumerate(faces, start=1):
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
if service.people.counts().people == 0:
    widgets.nobody_yet("Nobody is enrolled yet, so nobody can be recognised.")
else:
    with place:
        chosen = choose_person()
    show_tabs(chosen)
