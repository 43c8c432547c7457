"""The status line at the foot of the side bar."""

from __future__ import annotations

import streamlit as st

from core.types import Health
from dashboard import resources, widgets, words

_COLOUR = {"ok": "green", "degraded": "orange", "unavailable": "red"}


@st.fragment(run_every=5)
def line() -> None:
    """One line that is always true: ready or not, how many people, on which hardware."""
    service = resources.get().service
    stats, health = service.stats(), service.health()
    people = words.count(stats["gallery"]["people"], "person", "people")
    with st.container(key="status_line"):
        st.page_link(
            widgets.page("monitoring"),
            label=f":{_COLOUR[health.status]}[●] {_summary(health)} · {people} · {hardware(stats)}",
            help=_explain(health),
        )


def hardware(stats: dict) -> str:  # type: ignore[type-arg]
    """`CPU`, or the GPU's name."""
    gpu = stats["gpu"]
    return words.plain(gpu["name"]) if gpu.get("available") and gpu.get("name") else "CPU"


def _summary(health: Health) -> str:
    if health.status == "ok":
        return "Ready"
    ill = [words.COMPONENT.get(c.name, c.name) for c in health.components if c.status == "degraded"]
    return f"{words.plain(', '.join(ill) or 'Robi')} degraded"


def _explain(health: Health) -> str:
    ill = [c.detail for c in health.components if c.status == "degraded"]
    return words.plain(" ".join(ill)) or "All parts of Robi answer. Open Monitoring."
