"""Kept comparisons: opened, renamed, deleted, exported, and compared with each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import streamlit as st

from core.benchmark import export, labels
from core.benchmark.benchmarks import Benchmarks
from core.benchmark.model import Comparison, Difference, Gain, Run, RunSummary
from core.benchmark.request import LONGEST_NAME
from core.domain.errors import RobiError
from dashboard.shared import widgets, words
from dashboard.strategies import table as table
from dashboard.strategies import words as say
from dashboard.strategies.running import SHOWN

PER_PAGE = 10
TABS = "strategies_tabs"
COMPARE = "Compare"


def show(benchmarks: Benchmarks) -> None:
    """The list, newest first, and two of them side by side."""
    kept = benchmarks.runs()
    if not kept:
        st.caption("No comparison is kept yet. Each one that ends is kept here, until you delete it.")
        return
    _list(benchmarks, kept)
    if len(kept) > 1:
        st.header("Two side by side", anchor=False)
        _side_by_side(benchmarks, kept)


def latest(benchmarks: Benchmarks) -> Run | None:
    """The newest kept run that can be read."""
    for summary in benchmarks.runs()[:PER_PAGE]:
        with suppress(RobiError):
            return benchmarks.get(summary.id)
    return None


def exports(run: Run) -> None:
    """Three files of one run, made when they are asked for."""
    stem = f"robi-comparison-{run.id}"
    kinds: tuple[tuple[str, Callable[[Run], str], str, str], ...] = (
        ("CSV", export.to_csv, "csv", "text/csv"),
        ("JSON", export.to_json, "json", "application/json"),
        ("HTML report", _report, "html", "text/html"),
    )
    with st.container(horizontal=True):
        for label, make, ending, mime in kinds:
            st.download_button(
                label,
                data=lambda make=make: make(run),  # type: ignore[misc]  # mypy cannot infer a lambda's default
                file_name=f"{stem}.{ending}",
                mime=mime,
                on_click="ignore",
                icon=":material/download:",
                key=f"strategies_export_{ending}_{run.id}",
            )


def _report(run: Run) -> str:
    from core.benchmark.report import to_html  # here: plotly takes a while to import

    return to_html(run)


# ---------------------------------------------------------------- the list


def _list(benchmarks: Benchmarks, kept: Sequence[RunSummary]) -> None:
    pages = max(1, -(-len(kept) // PER_PAGE))
    page = min(st.session_state.get("strategies_page", 1), pages)
    with st.container(border=True, gap="xsmall"):
        for summary in kept[(page - 1) * PER_PAGE : page * PER_PAGE]:
            _row(benchmarks, summary)
    if pages > 1:
        st.pagination(pages, key="strategies_page")


def _row(benchmarks: Benchmarks, summary: RunSummary) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        with st.container(gap=None):
            st.markdown(f"**{words.plain(name_of(summary))}**")
            st.caption(words.plain(_about(summary)))
        with st.container(horizontal=True, width="content"):
            st.button(
                "Open",
                key=f"strategies_open_{summary.id}",
                on_click=_open,
                args=(benchmarks, summary.id),
            )
            chosen = st.menu_button(
                "More", ["Export", "Rename", "Delete"], key=f"strategies_more_{summary.id}"
            )
    if chosen == "Rename":
        _rename(benchmarks, summary)
    elif chosen == "Delete":
        _delete(benchmarks, summary)
    elif chosen == "Export":
        _export(benchmarks, summary)


def name_of(summary: RunSummary | Run) -> str:
    return say.run_name(summary.name, summary.id)


def _about(summary: RunSummary) -> str:
    ended = "" if summary.complete else " · ended by its time limit"
    return (
        f"{words.ago(summary.at, datetime.now(UTC))} · {words.count(summary.settings, 'setting')} · "
        f"{say.at_once(summary.concurrencies)} at once · {words.count(summary.count, 'probe')} · "
        f"{words.count(summary.gallery_templates, 'template')} · seed {summary.seed}{ended}"
    )


def _open(benchmarks: Benchmarks, run_id: int) -> None:
    run = widgets.attempt("strategies", lambda: benchmarks.get(run_id))
    if run is not None:
        st.session_state[SHOWN] = run
        st.session_state[TABS] = COMPARE


@st.dialog("Export", icon=":material/download:")
def _export(benchmarks: Benchmarks, summary: RunSummary) -> None:
    st.markdown(f"**{words.plain(name_of(summary))}**")
    run = widgets.trying(lambda: benchmarks.get(summary.id))
    if run:
        exports(run)
        st.caption(
            "The report is one file that needs nothing else. No names and no faces are in any of them."
        )


@st.dialog("Rename", icon=":material/edit:")
def _rename(benchmarks: Benchmarks, summary: RunSummary) -> None:
    name = st.text_input("Name", value=name_of(summary), max_chars=LONGEST_NAME)
    if st.button("Save", type="primary", key="strategies_rename_now"):

        def rename() -> bool:
            benchmarks.rename(summary.id, name)
            return True

        if widgets.trying(rename):
            _forget(summary.id)
            st.rerun()


@st.dialog("Delete this comparison?", icon=":material/delete:")
def _delete(benchmarks: Benchmarks, summary: RunSummary) -> None:
    st.markdown(
        f"**{words.plain(name_of(summary))}** and its figures will be gone for good. "
        "What Robi runs with stays as it is."
    )
    with st.container(horizontal=True):
        if st.button("Keep", type="primary", key="strategies_delete_not"):
            st.rerun()
        if st.button("Delete", icon=":material/delete:", key="strategies_delete_now"):

            def delete() -> bool:
                benchmarks.delete(summary.id)
                return True

            if widgets.trying(delete):
                _forget(summary.id)
                st.rerun()


def _forget(run_id: int) -> None:
    """Take a changed or deleted run off the screen; the newest is shown instead."""
    shown: Run | None = st.session_state.get(SHOWN)
    if shown is not None and shown.id == run_id:
        del st.session_state[SHOWN]


# ---------------------------------------------------------------- two of them


def _side_by_side(benchmarks: Benchmarks, kept: Sequence[RunSummary]) -> None:
    by_id = {summary.id: summary for summary in kept}
    with st.grid(2, min_column_width=280):
        a = _choose("A", by_id, 1)
        b = _choose("B", by_id, 0)
    if a == b:
        st.caption("Choose two different comparisons.")
        return
    found = widgets.trying(lambda: benchmarks.compare(a, b))
    if found:
        show_comparison(found)
        st.download_button(
            "JSON",
            data=lambda: export.comparison_to_json(found),
            file_name=f"robi-comparison-{a}-{b}.json",
            mime="application/json",
            on_click="ignore",
            icon=":material/download:",
            key="strategies_export_both",
        )


def _choose(label: str, by_id: dict[int, RunSummary], index: int) -> int:
    key = f"strategies_{label.lower()}"
    if st.session_state.get(key) not in by_id:
        st.session_state[key] = list(by_id)[index]
    return int(st.selectbox(label, list(by_id), key=key, format_func=lambda run_id: name_of(by_id[run_id])))


def show_comparison(found: Comparison) -> None:
    for note in found.notes:
        st.info(words.plain(note), icon=":material/info:")
    if not found.rows:
        st.caption("The two have no setting in common, so there is nothing to compare.")
    else:
        _table(found)
        st.caption(
            "A → B, and what the samples show of the difference with 95% confidence. "
            "“No difference shown” does not mean that there is none."
        )
    for label, only in (("A", found.only_a), ("B", found.only_b)):
        if only:
            told = "; ".join(f"{labels.full(setting)}, {clients} at once" for setting, clients in only)
            st.caption(words.plain(f"Only in {label}: {told}."))


def _table(found: Comparison) -> None:
    fields = say.differing(row.setting for row in found.rows)
    several = len({row.concurrency for row in found.rows}) > 1

    def name(row: Difference) -> str:
        load = f" · {row.concurrency} at once" if several else ""
        return say.named(row.setting, fields) + load

    def column(
        pick: Callable[[Difference], Gain | None], say_: Callable[[float], str], unit: str
    ) -> list[str]:
        return [say.gain(pick(row), say_, unit) for row in found.rows]

    table.show(
        {
            "Setting": [name(row) for row in found.rows],
            "p50": column(lambda row: row.p50, say.ms, " ms"),
            "p95": column(lambda row: row.p95, say.ms, " ms"),
            "recall@1": column(lambda row: row.recall_at_1, say.share, ""),
            "As the exact search": column(lambda row: row.agreement, say.share, ""),
            "Searches/s": column(lambda row: row.throughput_per_s, say.rate, ""),
        },
        "Figures of A and B and their difference",
    )
