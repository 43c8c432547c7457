"""Speed, load and health, live and for the last thirty days."""

from __future__ import annotations

import streamlit as st

from core.monitoring.stats import Report
from dashboard.monitoring import blocks, figures, requests
from dashboard.shared import health, resources, widgets

service = resources.get().service
_LAST = "monitoring_report"  # that `live` has read


@st.fragment(run_every=2)
def live() -> None:
    found = service.monitor.health()
    report = service.monitor.report(st.session_state["range"])
    st.session_state[_LAST] = report
    with st.container():  # keeps what follows in its place, whether there is trouble or not
        health.trouble(service, found)
    blocks.tiles(report, service.tuning.now.strategy)
    blocks.searched(report)
    figures.figures(report.measured)
    left, right = st.columns(2, gap="medium")
    with left:  # two blocks in each column, about as high: none of them leaves half a screen empty
        with health.card(found):
            health.upkeep(service, found)
        st.header("Hardware", anchor=False)
        blocks.hardware(report)
    with right:
        targets(report)


def targets(report: Report) -> None:
    st.header("Targets", anchor=False)
    requests.objectives(report)
    st.header("Tiers", anchor=False)
    if report.seen.lag_is_known:
        blocks.tiers(report)
    else:
        st.caption("Sizes and lag are known when the ledger can be read again.")
    if report.seen.server is not None:
        blocks.server(report.seen.server)


@st.fragment(run_every=5)
def details() -> None:
    """What need not move with every look of `live`, from the same report."""
    report: Report = st.session_state[_LAST]
    st.header("Times", anchor=False)
    blocks.speeds(report)
    st.header("Slowest requests of the last 6 hours", anchor=False)
    requests.slowest(report)


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
