"""The parts of Robi, each with its state and since when."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import streamlit as st

from core.service import RobiService
from core.types import ComponentHealth
from dashboard import widgets, words

_LOOK: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "ok": ("match", "✓", "ready"),
        "warming": ("unknown", "…", "warming up"),
        "degraded": ("review", "?", "degraded"),
        "unavailable": ("alert", "!", "not answering"),
        "off": ("unknown", "–", "off"),
    }
)

_MEANWHILE: Mapping[str, str] = MappingProxyType(
    {
        "qdrant": "Searches go on with what the cache holds. Nothing is lost; Robi catches up by itself.",
        "faiss": "Searches go on. Nothing is lost.",
    }
)

_WARMING = "Searches are answered by Qdrant until then."


def panel(service: RobiService) -> None:
    """A card of all components that refreshes itself."""
    st.subheader("Components", anchor=False)

    @st.fragment(run_every=5)
    def components() -> None:
        with st.container(border=True):
            widgets.rows([_line(component) for component in service.health().components])

    components()


@st.fragment(run_every=5)
def trouble(service: RobiService) -> None:
    """What is not well, in words and since when, where it is seen first; nothing while all is well."""
    found = service.health()
    for component in found.components:
        meaning, _, word = _LOOK[component.status]
        name = words.COMPONENT.get(component.name, component.name)
        if component.status == "warming":
            st.info(f"{words.plain(component.detail)} {_WARMING}", title=f"{name} {word}")
        if meaning in ("review", "alert"):
            say = st.error if meaning == "alert" else st.warning
            meanwhile = _MEANWHILE.get(component.name, "") if found.status == "degraded" else ""
            text = f"{words.plain(component.detail)} {meanwhile}"
            say(text, title=f"{name} {word} {widgets.since(component.since)}")


def _line(component: ComponentHealth) -> tuple[str, str, str, str]:
    meaning, shape, word = _LOOK[component.status]
    name = words.escape(words.COMPONENT.get(component.name, component.name))
    detail = words.escape(component.detail)
    return (
        meaning,
        shape,
        f'<b>{name}</b> {word}<br><span class="robi-quiet">{detail}</span>',
        f'<span class="robi-quiet">{words.escape(widgets.since(component.since))}</span>',
    )
