"""The settings in effect: of the environment, and what was tuned since."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import streamlit as st
from pydantic import SecretStr

from core.config.settings import Settings
from core.config.tuning import differing
from dashboard.shared import resources, tunings, widgets, words

SECTIONS = {
    "Recognition": ("face_", "search_strategy"),
    "Vector tiers": ("qdrant_", "faiss_"),
    "Hardware": ("use_gpu", "gpu_"),
    "Server and data": ("robi_", "database_", "otel_"),
}
SECRET = ("key", "secret", "password", "token")

shared = resources.get()
service, settings, pack = shared.service, shared.settings, shared.service.engine.pack
tuned = {tunings.SETTING[name]: value for name, value in differing(service.tuning.now, settings).items()}


def shown(name: str, value: Any) -> str:
    """A value as an operator may see it: secrets only say whether they are set."""
    if isinstance(value, SecretStr) or any(word in name for word in SECRET):
        return "set" if value else "not set"
    if name.endswith("_url") and value:
        parts = urlsplit(str(value))
        if parts.username or parts.password:
            host = parts.hostname or ""
            return parts._replace(netloc=f"•••@{host}{f':{parts.port}' if parts.port else ''}").geturl()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "(empty)" if value == "" else str(value)


def show(name: str) -> None:
    field = Settings.model_fields[name]
    value, default = getattr(settings, name), field.default
    changed = Path(value) != default if isinstance(value, Path) else value != default
    with st.container(border=True, gap="xsmall", height="stretch"):
        mark = " :blue-badge[changed]" if changed else ""
        if name in tuned:
            mark = f" :blue-badge[tuned to {words.plain(shown(name, tuned[name]))}]"
        st.markdown(f"`{name.upper()}` = **{words.plain(shown(name, value))}**{mark}")
        usual = f" Default: {shown(name, default)}." if changed else ""
        st.caption(words.plain(f"{field.description or ''}{usual}"))
        if name == "face_min_eye_distance":  # the others are chosen by measuring, on pages of their own
            tunings.offer_face_size(service)


widgets.header(
    "Settings", "What Robi runs with. Settings are read at the start from the environment or .env."
)

if service.tuning.latest():
    st.header("Changed while running", anchor=False)
    tunings.show_changes(service, key="settings_undo")

st.header("Face models", anchor=False)
with st.container(border=True):
    st.markdown(f"**{words.plain(pack.id)}** · {pack.dimension} dimensions")
    st.caption(words.plain(f"Licence: {pack.licence}"))

for section, prefixes in SECTIONS.items():
    st.header(section, anchor=False)
    names = [name for name in Settings.model_fields if name.startswith(prefixes)]
    with st.grid(2, min_column_width=320):
        for name in names:
            show(name)
