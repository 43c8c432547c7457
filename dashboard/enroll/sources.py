"""Where the photos come from: the live camera, single shots, files."""

from __future__ import annotations

from types import MappingProxyType

import streamlit as st

from core.domain.validation import MAX_PHOTOS
from dashboard.enroll import enrolling
from dashboard.shared import widgets
from dashboard.shared.camera.camera import UNUSABLE, camera
from dashboard.shared.drafts import Draft
from dashboard.shared.resources import Resources

SOURCE = MappingProxyType({"Live": "live", "Take a photo": "shot", "Upload": "file"})  # by tab
_TABS = "enroll_tabs"
_SAID_S = 8.0  # how long it is told that a press of the camera's button came to nothing


def chosen() -> str:
    return SOURCE[st.session_state[_TABS]]


def show(shared: Resources, draft: Draft) -> None:
    tabs = st.tabs(list(SOURCE), key=_TABS, on_change="rerun")
    for tab, draw in zip(tabs, (_show_live, _show_shot, _show_upload), strict=True):
        if tab.open:
            with tab:
                draw(shared, draft)


def _show_live(shared: Resources, draft: Draft) -> None:
    session = enrolling.live_session(shared.live, draft)
    status = camera(session.token, key="enroll_camera", enrolling=True)
    if status in UNUSABLE:
        st.button("Use a photo instead", icon=":material/photo_camera:", on_click=_use_photo)
        return

    @st.fragment(run_every=1)
    def controls() -> None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                "Take a photo now",
                icon=":material/photo_camera:",
                on_click=enrolling.take_photo,
                args=(session,),
            )
            session.auto = st.toggle(
                "Take good photos automatically",
                value=True,
                key="enroll_auto",
                persist_state="page",
                help="Robi takes a photo whenever the picture is good and the pose is a new one.",
            )
        widgets.show_problem(enrolling.CAMERA, for_s=_SAID_S)

    controls()


def _use_photo() -> None:
    st.session_state[_TABS] = "Upload"


def _show_shot(shared: Resources, draft: Draft) -> None:
    key = f"enroll_shot_{enrolling.round_number()}"
    shot = st.camera_input("Look straight into the camera", key=key)
    st.caption("Take three to five: straight on, and with the head turned a little to each side.")
    if shot is not None and enrolling.add(shared.service, draft, "shot", [shot]):
        st.rerun()


def _show_upload(shared: Resources, draft: Draft) -> None:
    # Any file may be chosen: a wrong one gets its reason beside the others.
    files = st.file_uploader(
        "Photos of one person",
        accept_multiple_files=True,
        key=f"enroll_files_{enrolling.round_number()}",
        max_upload_size=shared.settings.robi_max_upload_mb,
        help="JPEG, PNG, WebP or BMP; the face alone in the picture, or by far the largest.",
    )
    st.caption(f"Up to {MAX_PHOTOS}. They are listed beside, or below on a phone, and stay until you save.")
    if enrolling.add(shared.service, draft, "file", files):
        st.rerun()
