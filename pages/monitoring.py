"""Speed, load and health, live and for the last thirty days."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.errors import RobiError
from dashboard import health, monitoring, monitoring_figures, monitoring_requests, resources, widgets

service = resources.get().service


def measured(range_: str) -> tuple[dict[str, Any], bool]:
    """The dict of `/stats`, and whether it is whole: without the ledger it is what needs none."""
    try:
        return service.stats(range_), True
    except RobiError:
        return service.measured(range_), False


@st.fragment(run_every=2)
def live() -> None:
    found = service.health()
    stats, whole = measured(st.session_state["range"])
    with st.container():  # keeps what follows in its place, whether there is trouble or not
        health.trouble(service, found)
    monitoring.tiles(stats, service.tuning.strategy)
    with st.container():
        if not stats["window"]["searches"]:
            st.markdown(f"Nothing was searched {monitoring.during(stats['range']['name'])}.")
    left, right = st.columns(2, gap="medium")
    with left, health.card(found):
        health.upkeep(service, found)
    with right:
        targets(stats, whole)
    monitoring_figures.figures(stats, percentile())


def targets(stats: dict[str, Any], whole: bool) -> None:
    st.subheader("Targets", anchor=False)
    monitoring_requests.objectives(stats)
    st.subheader("Tiers", anchor=False)
    if whole:
        monitoring.tiers(stats)
    else:
        st.caption("Sizes and lag are known when the ledger can be read again.")


def percentile() -> str:
    return st.segmented_control(
        "Percentile of the times",
        ["p50", "p95", "p99"],
        default="p95",
        required=True,
        key="monitoring_percentile",
    )


@st.fragment(run_every=5)
def details() -> None:
    stats, _ = measured(st.session_state["range"])
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Times", anchor=False)
        monitoring.speeds(stats)
    with right:
        st.subheader("Hardware", anchor=False)
        monitoring.hardware(stats)
    st.subheader("Slowest requests of the last 6 hours", anchor=False)
    monitoring_requests.slowest(stats)


with widgets.header("Monitoring", "How fast Robi is, how busy, and whether every part is well."):
    st.selectbox(
        "Time range",
        list(monitoring.RANGES),
        index=list(monitoring.RANGES).index("15min"),
        format_func=monitoring.RANGES.__getitem__,
        key="range",
        bind="query-params",
        label_visibility="collapsed",
        width=200,
    )
live()
details()
