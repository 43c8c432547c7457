"""The status line at the foot of the side bar."""

from __future__ import annotations

import streamlit as st

from core.domain.errors import RobiError
from core.domain.system import ComponentHealth, Health
from core.monitoring.snapshot import SystemSnapshot
from core.services.service import RobiService
from dashboard.shared import resources, widgets, words

_COLOUR = {"ok": "green", "degraded": "orange", "unavailable": "red"}


@st.fragment(run_every=5)
def line() -> None:
    """One line that is always true: ready or not, how many people, on which hardware."""
    service = resources.get().service
    health = service.monitor.health()
    said = [_summary(health), *_people(service), hardware(service.monitor.snapshot())]
    with st.container(key="status_line"):
        st.page_link(
            widgets.page("monitoring"),
            label=f":{_COLOUR[health.status]}[●] {' · '.join(said)}",
            help=_explain(health),
        )
        widgets.no_connection()


def hardware(seen: SystemSnapshot) -> str:
    """`CPU`, the GPU's name, or that it was lost."""
    if seen.gpu is not None:
        return words.plain(seen.gpu.name)
    return "GPU lost" if seen.lost_gpu else "CPU"


def _people(service: RobiService) -> list[str]:
    """How many are enrolled; nothing while the ledger cannot tell."""
    try:
        return [words.count(service.people.counts().people, "person", "people")]
    except RobiError:
        return []


def _summary(health: Health) -> str:
    if health.status == "ok":
        warming = [c for c in health.components if c.status == "warming"]
        return "Warming up" if warming else "Ready"
    names = ", ".join(words.COMPONENT.get(c.name, c.name) for c in _ill(health))
    return f"{words.plain(names or 'Robi')} {health.status}"


def _explain(health: Health) -> str:
    said = [f"{c.detail.rstrip('.')} ({widgets.since(c.since)})." for c in _ill(health)]
    return words.plain(" ".join(said)) or "All parts of Robi answer. Open Monitoring."


def _ill(health: Health) -> list[ComponentHealth]:
    return [component for component in health.components if component.status not in ("ok", "off")]
