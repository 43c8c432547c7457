"""Speed, load and health, live."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from core.types import Strategy
from dashboard import health, resources, status, widgets, words
from dashboard.charts import load

service = resources.get().service


def share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def tile(label: str, value: str, help_: str) -> None:
    st.metric(label, value, border=True, height="stretch", help=help_)


def tiles(stats: dict[str, Any]) -> None:
    rates, hits = stats["throughput"], stats["hit_rate"]
    gpu, cpu = stats["gpu"], stats["cpu"]
    with st.grid(5, min_column_width=140):
        tile("Searches a second", f"{rates['searches_per_s']:.1f}", "Mean of the last 5 minutes.")
        tile(
            "Faces a second",
            f"{rates['recognitions_per_s']:.1f}",
            "Faces that went from picture to decision; mean of the last 5 minutes.",
        )
        tile(
            "Cache hit rate",
            share(hits["hit_rate"]),
            "Of the searches with a match, the share whose person was in the cache.",
        )
        tile(
            "Qdrant skipped",
            share(hits["served_from_cache"]),
            "Searches that the cache answered alone, as Cache first may.",
        )
        if gpu["available"]:
            tile("GPU", f"{gpu.get('utilisation_percent', 0)} %", words.plain(str(gpu["name"])))
        else:
            tile("CPU", f"{cpu['percent']:.0f} %", words.plain(str(gpu["reason"])))


def speeds(stats: dict[str, Any]) -> None:
    by_strategy = stats["latency"]["by_strategy"]
    rows = [by_strategy[strategy.value] for strategy in Strategy]
    frame = pd.DataFrame(
        {
            "Strategy": [words.STRATEGY[strategy] for strategy in Strategy],
            **{f"{p} ms": [words.decimals(row[p]) for row in rows] for p in ("p50", "p95", "p99")},
            "Searches": [f"{row['count']:,}" for row in rows],
        }
    )
    st.table(frame, border="horizontal", hide_index=True, alt="Search times of the last 5 minutes")


def tiers(stats: dict[str, Any]) -> None:
    found = list(stats["tiers"].values())
    frame = pd.DataFrame(
        {
            "Tier": [words.COMPONENT[tier["name"]] for tier in found],
            "Kind": [tier["kind"] for tier in found],
            "Templates": [f"{tier['templates']:,}" for tier in found],
            "Coverage": [share(tier["coverage"]) for tier in found],
            "Behind": [words.count(tier["lag"], "change") for tier in found],
        }
    )
    st.table(frame, border="horizontal", hide_index=True, alt="Size, coverage and lag of the two tiers")


def errors(stats: dict[str, Any]) -> None:
    counted = stats["errors"]
    if counted:
        said = " · ".join(f"{words.plain(code)} {number:,}" for code, number in sorted(counted.items()))
        st.caption(f"Refused or failed since the start: {said}")


@st.fragment(run_every=2)
def live() -> None:
    stats, local = service.stats(), widgets.here()
    tiles(stats)
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Load", anchor=False)
        st.echarts_chart(
            load.over_time(
                stats["series"],
                {"searches_per_s": "searches", "recognitions_per_s": "faces"},
                " /s",
                local,
            ),
            height=240,
            key="monitoring_load",
            alt="Searches and faces a second over the last 15 minutes",
        )
        st.subheader("Search time by strategy", anchor=False)
        speeds(stats)
    with right:
        st.subheader("Search time, p95", anchor=False)
        st.echarts_chart(
            load.over_time(stats["series"], {"p95_ms": "p95"}, " ms", local),
            height=240,
            key="monitoring_p95",
            alt="95th percentile of search times over 15 minutes",
        )
        st.subheader("Tiers", anchor=False)
        tiers(stats)
    st.subheader("Where the time goes", anchor=False)
    if stats["latency"]["by_stage"]:
        st.echarts_chart(
            load.stage_bars(stats["latency"]["by_stage"]),
            height=240,
            key="monitoring_stages",
            alt="Median and 95th percentile of each stage",
        )
    else:
        st.caption("Nothing was measured in the last 5 minutes.")
    errors(stats)


def hardware() -> None:
    stats = service.stats()
    faces, cpu, memory = stats["faces"], stats["cpu"], stats["memory"]
    st.subheader("Hardware", anchor=False)
    with st.container(border=True):
        on_gpu = stats["gpu"]["available"]
        reason = (stats["gpu"]["reason"] or "").removeprefix("CPU mode: ")
        st.markdown(f"**GPU** · {status.hardware(stats['gpu'])}" if on_gpu else "**CPU mode**")
        st.caption(
            f"{words.plain(reason[:1].upper() + reason[1:])} "
            f"Face models run on {words.plain(faces['provider'])}; "
            f"{words.count(cpu['cores'], 'core')}, "
            f"{memory['rss_mb']:,} MB used by Robi, {memory['available_mb'] / 1024:.1f} of "
            f"{memory['total_mb'] / 1024:.1f} GB free."
        )


def rebuild() -> bool:
    service.rebuild("faiss")
    widgets.flash("The cache was rebuilt from the ledger.")
    return True


def compare() -> bool:
    found = service.check_drift()
    wrong = [drift for drift in found if not drift.ok]
    if wrong:
        said = " ".join(
            f"{words.TIER[d.tier]} lacked {words.count(d.missing, 'template')} and held "
            f"{d.extra:,} too many: put right."
            for d in wrong
        )
    else:
        said = f"Cache and Qdrant hold just what the ledger says: {found[0].ledger_count:,} templates."
    widgets.flash(said)
    return True


with widgets.header("Monitoring", "How fast Robi is, how busy, and whether every part is well."):
    if st.button(
        "Rebuild the cache",
        icon=":material/restart_alt:",
        help="Empties the cache and fills it from the ledger again. Searches go on meanwhile.",
    ):
        with st.spinner("Rebuilding the cache …"):
            rebuilt = widgets.trying(rebuild)
        if rebuilt:
            st.rerun()
    if st.button(
        "Compare with the ledger",
        icon=":material/fact_check:",
        key="compare",
        help="Checks that cache and Qdrant hold exactly the enrolled templates, and puts right what differs.",
    ):
        with st.spinner("Comparing …"):
            compared = widgets.trying(compare)
        if compared:
            st.rerun()
health.trouble(service)
live()
left, right = st.columns(2, gap="medium")
with left:
    health.panel(service)
with right:
    hardware()
