"""The frame around every page: navigation, style, and the status line."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # Streamlit puts this script's folder on the path, not the project's
    sys.path.insert(0, str(ROOT))

from dashboard.shared import heartbeat, status_line, widgets  # noqa: E402  the path had to be set first

ASSETS = Path(__file__).parent / "assets"

st.set_page_config(
    page_title="Robi", page_icon=str(ASSETS / "icon.png"), layout="wide", initial_sidebar_state="auto"
)
st.logo(str(ASSETS / "mark.svg"), size="large")
st.html(Path(__file__).with_name("style.css"))


def _page(name: str, title: str, icon: str, purpose: str, *, default: bool = False) -> st.Page:
    return st.Page(
        widgets.page(name),
        title=title,
        icon=f":material/{icon}:",
        help=purpose,
        url_path=name,
        default=default,
    )


navigation = st.navigation(
    {
        "": [
            _page(
                "overview",
                "Overview",
                "space_dashboard",
                "How Robi is doing and what happened last.",
                default=True,
            ),
            _page("enroll", "Enroll", "person_add", "Add a person with the camera or with photos."),
            _page("verify", "Verify", "familiar_face_and_zone", "Recognise faces, live or in a photo."),
            _page("people", "People", "group", "Find, rename and erase people."),
            _page("events", "Events", "history", "What happened, newest first."),
        ],
        "Insight": [
            _page("strategies", "Strategies", "compare_arrows", "Compare the ways to search."),
            _page("monitoring", "Monitoring", "monitoring", "Speed, load and health, live."),
            _page("calibration", "Calibration", "tune", "Choose the threshold from evidence."),
        ],
        "System": [_page("settings", "Settings", "settings", "The settings in effect.")],
    }
)
with st.sidebar:
    status_line.line()
    heartbeat.heartbeat()
widgets.entered(navigation.url_path)
navigation.run()
