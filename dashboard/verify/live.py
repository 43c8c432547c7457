"""Recognising whoever is before the camera."""

from __future__ import annotations

import streamlit as st

from core.domain.recognition import VerifyOptions
from core.live import VerifyLive, VerifySnapshot
from core.services.service import RobiService
from dashboard.shared import resources, verdicts, widgets, words
from dashboard.shared.camera.camera import UNUSABLE, camera
from dashboard.verify.choices import choose_how, details


def _service() -> RobiService:
    return resources.get().service


def show(user_id: str | None) -> None:
    left, right = st.columns([3, 2], gap="medium")
    with right:
        place = st.container()  # the answer stands above the choices, but needs them first
        with details():
            options = choose_how(user_id)
    session, tuning = _session(options), _service().tuning.now
    with left:
        status = camera(session.token, key="verify_camera")
        if status in UNUSABLE:
            st.button("Use a photo instead", icon=":material/photo_camera:", on_click=_use_photo)
    with place:

        @st.fragment(run_every=0.5)
        def beside() -> None:
            if resources.get().live.get(session.token) is None or _service().tuning.now != tuning:
                st.rerun()
            _show_snapshot(session.snapshot())

        beside()


def _session(options: VerifyOptions) -> VerifyLive:
    """This tab's session; a new one when the old one has expired."""
    session = resources.get().live.get(st.session_state.get("verify_token", ""))
    if not isinstance(session, VerifyLive):
        session = resources.get().live.open_verify(options)
        st.session_state["verify_token"] = session.token
    session.options = options
    return session


def _use_photo() -> None:
    st.session_state["verify_tabs"] = "Photo"


def _show_snapshot(seen: VerifySnapshot) -> None:
    with st.container(border=True, key="verify_live"):
        verdicts.instead()
        with st.container(key="verify_verdict"):
            if seen.faces:
                _show_faces(seen)
            else:
                verdicts.waiting("Waiting for a face" if seen.connected else "Waiting for the camera")
            timings = words.stages(seen.latency_ms) if seen.latency_ms and seen.connected else " "
            st.caption(timings)
            if seen.error:
                widgets.show_failure(seen.error)


def _show_faces(seen: VerifySnapshot) -> None:
    """One face in full; of several each in short, by the numbers that they have in the picture."""
    if len(seen.faces) == 1 and not seen.more:
        (face,) = seen.faces
        if face.search:
            verdicts.face(face.search, face.note)
        else:
            verdicts.waiting("Looking …")
        return
    faces = sorted(seen.faces, key=lambda face: face.number)
    verdicts.faces([(face.number, face.search) for face in faces], seen.more)
