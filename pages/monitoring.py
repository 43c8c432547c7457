"""Speed, load and health, live and for the last thirty days."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.domain.errors import RobiError
from dashboard.monitoring import blocks, figures, requests
from dashboard.shared import health, resources, widgets

service = resources.get().service
_LAST = "monitoring_stats"  # that `live` has read


def measured(range_: str) -> tuple[dict[str, Any], bool]:
    """The dict of `/stats`, and whether it is complete: without the ledger some of it is missing."""
    try:
        return service.monitor.stats(range_), True
    except RobiError:
        return service.monitor.measured(range_), False


@st.fragment(run_every=2)
def live() -> None:
    found = service.monitor.health()
    stats, whole = measured(st.session_state["range"])
    st.session_state[_LAST] = stats
    with st.container():  # keeps what follows in its place, whether there is trouble or not
        health.trouble(service, found)
    blocks.tiles(stats, service.tuning.now.strategy)
    blocks.searched(stats)
    figures.figures(stats)
    left, right = st.columns(2, gap="medium")
    with left:  # two blocks in each column, about as high: none of them leaves half a screen empty
        with health.card(found):
            health.upkeep(service, found)
        st.header("Hardware", anchor=False)
        blocks.hardware(stats)
    with right:
        targets(stats, whole)


def targets(stats: dict[str, Any], whole: bool) -> None:
    st.header("Targets", anchor=False)
    requests.objectives(stats)
    st.header("Tiers", anchor=False)
    if whole:
        blocks.tiers(stats)
    else:
        st.caption("Sizes and lag are known when the ledger can be read again.")


@st.fragment(run_every=5)
def details() -> None:
    """What need not be drawn anew as often as `live`; from the same dict."""
    stats = st.session_state[_LAST]
    st.header("Times", anchor=False)
    blocks.speeds(stats)
    st.header("Slowest requests of the last 6 hours", anchor=False)
    requests.slowest(stats)


with widgets.header("Monitoring", "How fast Robi is, how busy, and whether every part is well."):
    st.selectbox(
        "Time range",
        list(blocks.RANGES),
        index=list(blocks.RANGES).index("15min"),
        format_func=blocks.RANGES.__getitem__,
        key="range",
        bind="query-params",
        label_visibility="collapsed",
        width=200,
    )
live()
details()
