"""Which way to search, at what cost: measured on the gallery in use, kept, and put into use."""

from __future__ import annotations

import streamlit as st

from core.benchmark.model import Run
from dashboard.shared import resources, widgets
from dashboard.strategies import form, kept, photo, result, running
from dashboard.strategies.running import SHOWN

shared = resources.get()
service, benchmarks = shared.service, shared.benchmarks


def show_compare() -> None:
    run = shown()
    if benchmarks.progress() is not None:
        running.progress(benchmarks)
    else:
        form.show(service, benchmarks, first=run is None)
    if run is not None:
        result.show(service, run)
        kept.exports(run)
    elif benchmarks.progress() is None:
        st.caption(
            "Run measures every setting on this gallery, with the same probes, beside the live system. "
            "The picture that comes of it shows which finds most and which is fastest."
        )


def show_tabs() -> None:
    form.keep()
    if benchmarks.progress() is None:
        running.ending(benchmarks.outcome())
    widgets.show_problem("strategies")
    compare_tab, kept_tab, photo_tab = st.tabs(
        [kept.COMPARE, "Kept runs", "One photo"], key=kept.TABS, on_change="rerun"
    )
    if compare_tab.open:
        with compare_tab:
            show_compare()
    if kept_tab.open:
        with kept_tab:
            kept.show(benchmarks)
    if photo_tab.open:
        with photo_tab:
            photo.show(service)


def shown() -> Run | None:
    """The run on the screen: the one just measured or opened, or else the newest that is kept."""
    if SHOWN not in st.session_state:
        st.session_state[SHOWN] = kept.latest(benchmarks)
    run: Run | None = st.session_state[SHOWN]
    return run


widgets.header("Strategies", "Which way to search, at what cost: measured on the gallery in use.")
if service.people.counts().people == 0:
    widgets.nobody_yet("There is nothing to search yet.")
else:
    show_tabs()
