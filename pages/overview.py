"""How Robi is doing, and what happened last."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from core.services.demo import load_demo_gallery
from dashboard.shared import health, history, resources, widgets, words

service = resources.get().service


def load_demo() -> bool:
    people = load_demo_gallery(service)
    widgets.flash(f"{words.count(len(people), 'person', 'people')} of the demo gallery enrolled. Try Verify.")
    return True


def hours_today() -> float:
    now = datetime.now(UTC)
    midnight = now.astimezone(widgets.here()).replace(hour=0, minute=0, second=0, microsecond=0)
    return (now - midnight).total_seconds() / 3600


@st.fragment(run_every=5)
def tiles() -> None:
    report, counted = service.monitor.report(), service.metrics.snapshot()
    gallery, series = report.seen.ledger.counts, report.measured.series
    speed = counted.latency.by_strategy[service.tuning.now.strategy.value]
    share = counted.hit_rate.hit_rate
    with st.grid(4, min_column_width=150):
        with st.container(border=True, height="stretch"):
            st.metric("People", f"{gallery.people:,}" if gallery else "–")
            st.caption(f"with {words.count(gallery.templates, 'photo')}" if gallery else "not known now")
        st.metric(
            "Checked today",
            f"{service.events.verified_since(hours_today()):,}",
            border=True,
            height="stretch",
            chart_data=widgets.sparkline(series.recognitions_per_s),
            chart_type="area",
            help="Decisions put on record since midnight. The line: faces a second, last 15 minutes.",
        )
        st.metric(
            "Search time, p95",
            words.milliseconds(speed.p95),
            border=True,
            height="stretch",
            chart_data=widgets.sparkline(series.p95_ms),
            chart_type="area",
            help="95 of 100 searches of the last 5 minutes were faster. The line: last 15 minutes.",
        )
        with st.container(border=True, height="stretch"):
            st.metric("Cache hit rate", "–" if share is None else f"{share:.0%}")
            st.caption(
                "of the matches were found in the cache"
                if share is not None
                else "No match was searched for yet."
            )


@st.fragment(run_every=5)
def trouble() -> None:
    """What is not well, what works all the same, and the button that helps; nothing while all is well."""
    health.trouble(service, service.monitor.health())


def happened() -> None:
    st.header("What happened last", anchor=False)

    @st.fragment(run_every=5)
    def latest() -> None:
        events = service.events.listing(limit=8).items
        with st.container(border=True):
            if events:
                history.show(events)
            else:
                st.markdown("Nothing yet.")

    latest()
    st.page_link(
        widgets.page("events"),
        label="All events",
        icon=":material/arrow_forward:",
        icon_position="right",
    )


if service.people.counts().people == 0:
    widgets.header("Overview", "How Robi is doing, and what happened last.")
    with widgets.nobody_yet("Nobody is enrolled yet, so nobody can be recognised."):
        if st.button(
            "Load the demo gallery",
            icon=":material/photo_library:",
            help="Eight people from photos that Robi's own libraries ship.",
        ):
            with st.spinner("Enrolling the demo gallery …"):
                loaded = widgets.attempt("demo", load_demo)
            if loaded:
                st.rerun()
    widgets.show_problem("demo")
    health.panel(service)
else:
    with widgets.header("Overview", "How Robi is doing, and what happened last."):
        if st.button("Enroll a person", type="primary", icon=":material/person_add:"):
            st.switch_page(widgets.page("enroll"))
    trouble()
    tiles()
    left, right = st.columns([3, 2], gap="medium")
    with left:
        happened()
    with right:
        health.panel(service)
