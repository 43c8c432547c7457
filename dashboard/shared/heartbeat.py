"""Tells the browser's page when the server is gone: only the browser can."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_component = st.components.v2.component(
    "robi_heartbeat", html="<i></i>", js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
)


def heartbeat() -> None:
    """Watch the server from the browser; `data-robi-server="silent"` marks a page that gets no answer."""
    with st.container(key="heartbeat"):
        _component(key="robi_heartbeat")
