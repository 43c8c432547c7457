"""Compare the ways to search: one photo, or a few hundred probes."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core import benchmark
from core.benchmark import BenchmarkRun
from core.types import Purpose
from dashboard import pictures, resources, widgets, words
from dashboard.charts import strategies as figures

shared = resources.get()
service, settings = shared.service, shared.settings


def show_photo() -> None:
    photo = pictures.one_photo("strategies", settings)
    if photo is None:
        st.caption("The largest face of the photo is searched for with each strategy. Nothing is recorded.")
        return
    analysis = widgets.trying(lambda: service.analyze(service.decode(photo.data), Purpose.VERIFY))
    if analysis is None:
        return
    if not analysis.faces:
        st.warning("Show the whole face, facing the camera.", title="No face was found in the photo.")
        return
    results = widgets.trying(lambda: benchmark.compare(service, analysis.faces[0].embedding))
    if results is None:
        return
    for column, (strategy, search) in zip(st.columns(3), results.items(), strict=True):
        with column.container(border=True, height="stretch"):
            timings = search.timings
            st.markdown(f"**{words.STRATEGY[strategy]}** · {words.milliseconds(timings.total)}")
            widgets.result(search)
            parts = {"cache": timings.hot, "Qdrant": timings.cold, "names": timings.join}
            st.caption(words.stages({name: ms for name, ms in parts.items() if ms is not None}))


def run_probes(probes: int) -> BenchmarkRun:
    bar = st.progress(0.0, text="Searching …")

    def progress(share: float) -> None:
        bar.progress(share, text=f"Searching … {share:.0%}")

    try:
        return benchmark.run(service, probes, progress=progress)
    finally:
        bar.empty()


def show_probes() -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        probes = st.segmented_control(
            "Probes", [100, 300, 1000], default=300, required=True, key="strategies_probes"
        )
        start = st.button("Run", type="primary", icon=":material/play_arrow:")
    st.caption(
        f"A probe is an enrolled face, changed to a similarity of {benchmark.SIMILARITY:.2f} to its photo; "
        f"one in {round(1 / benchmark.STRANGERS)} is a stranger. Every strategy gets the same ones, in turn."
    )
    if start:
        outcome = widgets.trying(lambda: run_probes(int(probes)))
        if outcome:
            st.session_state["strategies_run"] = outcome
    run: BenchmarkRun | None = st.session_state.get("strategies_run")
    if run:
        show_run(run)


def show_run(run: BenchmarkRun) -> None:
    frame = pd.DataFrame(
        {
            "Strategy": [words.STRATEGY[row.strategy] for row in run.rows],
            "p50 ms": [row.p50_ms for row in run.rows],
            "p95 ms": [row.p95_ms for row in run.rows],
            "p99 ms": [row.p99_ms for row in run.rows],
            "Recall@1": [row.recall_at_1 for row in run.rows],
            "Agreement": [row.agreement for row in run.rows],
        }
    )
    number = st.column_config.NumberColumn
    st.dataframe(
        frame,
        hide_index=True,
        alt="Latency, recall and agreement of the three strategies",
        column_config={
            **{f"{p} ms": number(format="%.2f") for p in ("p50", "p95", "p99")},
            "Recall@1": number(format="%.3f", help="Known probes whose best candidate is the right person."),
            "Agreement": number(format="%.3f", help="Same decision and person as an exact search of all."),
        },
    )
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.subheader("How long a search takes (share of searches)", anchor=False)
        st.echarts_chart(
            figures.distribution(run.rows),
            height=300,
            key="strategies_latency",
            alt="Distribution of search times by strategy",
        )
    with right:
        st.subheader("Where the matches came from", anchor=False)
        st.echarts_chart(
            figures.source_shares(run.rows),
            height=300,
            key="strategies_sources",
            alt="Share of matches from the cache, from Qdrant and from both",
        )
    st.caption(
        f"{words.count(run.probes, 'probe')} for each strategy against "
        f"{words.count(run.gallery_templates, 'template')} of {run.dimension} dimensions, seed {run.seed}."
    )


widgets.header("Strategies", "The same faces through each way to search: who is found, from where, how fast.")
if service.counts().people == 0:
    with widgets.empty("There is nothing to search yet."):
        if st.button("Enroll the first person", type="primary", icon=":material/person_add:"):
            st.switch_page(widgets.page("enroll"))
    st.stop()

probes_tab, photo_tab = st.tabs(["Many probes", "One photo"], key="strategies_tabs", on_change="rerun")
if probes_tab.open:
    with probes_tab:
        show_probes()
if photo_tab.open:
    with photo_tab:
        show_photo()
