"""Blocks of the monitoring page. Each draws from the dict of `/stats`, and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import streamlit as st

from core.domain.search import Strategy
from dashboard.shared import words

Stats = Mapping[str, Any]

RANGES: Mapping[str, str] = MappingProxyType(
    {
        "5min": "Last 5 minutes",
        "15min": "Last 15 minutes",
        "1h": "Last hour",
        "6h": "Last 6 hours",
        "24h": "Last 24 hours",
        "7d": "Last 7 days",
        "30d": "Last 30 days",
    }
)
STAGE: Mapping[str, str] = MappingProxyType(
    {
        "detect": "detect",
        "embed": "embed",
        "hot": "cache",
        "cold": "Qdrant",
        "merge": "merge",
        "join": "names",
        "compare": "compare 1:1",
        "commit": "ledger",
        "sync": "tiers",
        "enroll": "enrollment",
        "waiting": "waiting",
        "rest": "rest",
    }
)


def stage(name: str) -> str:
    return STAGE.get(name, name)


def share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def during(range_: str) -> str:
    """`in the last 5 minutes`."""
    return f"in the {RANGES[range_].lower()}"


# ---------------------------------------------------------------- tiles


def tiles(stats: Stats, strategy: Strategy) -> None:
    """The figures of the whole range, and of this moment."""
    window, said = stats["window"], during(stats["range"]["name"])
    speed = window["latency"]["by_strategy"][strategy.value]
    hits, memory = window["hit_rate"], stats["memory"]
    with st.grid(4, min_column_width=150):
        _tile("Searches a second", f"{window['throughput']['searches_per_s']:.2f}", f"Mean {said}.")
        _tile(
            "Search time, p95",
            words.milliseconds(speed["p95"]),
            f"{words.STRATEGY[strategy]}: 95 of 100 searches {said} were faster.",
        )
        _tile("Within target", share(_inside(stats["objectives"])), f"Requests {said} that met their target.")
        _tile(
            "Without an answer",
            share(window["error_rate"]),
            f"Searches {said} that got an error instead of an answer.",
        )
        _tile(
            "Cache hit rate",
            share(hits["hit_rate"]),
            f"Of the searches with a match {said}, the share whose person was in the cache.",
        )
        _processor(stats)
        _tile(
            "Memory of Robi",
            f"{(memory['rss_mb'] + memory['children_mb']) / 1024:.1f} GB",
            f"Robi's process {memory['rss_mb']:,} MB, its helpers {memory['children_mb']:,} MB; "
            f"{memory['available_mb'] / 1024:.1f} of {memory['total_mb'] / 1024:.1f} GB are free.",
        )
        _tile("Cameras in use", f"{stats.get('live_sessions', 0):.0f}", "Live pictures open now.")


def searched(stats: Stats) -> None:
    """One line, whatever there was: nothing below it moves at the first search."""
    searches = stats["window"]["searches"]
    said = words.count(searches, "search", "searches") if searches else "Nothing was searched"
    st.markdown(f"{said} {during(stats['range']['name'])}.")


def _tile(label: str, value: str, help_: str) -> None:
    st.metric(label, value, border=True, height="stretch", help=help_)


def _processor(stats: Stats) -> None:
    gpu, cpu = stats["gpu"], stats["cpu"]
    if gpu["available"] and gpu["utilisation_percent"] is not None:
        _tile("GPU", f"{gpu['utilisation_percent']}%", words.plain(str(gpu["name"])))
    else:
        said = f"Of {words.count(cpu['cores'], 'core')}; Robi's process {_whole(cpu['process_percent'])}."
        _tile("CPU", _whole(cpu["percent"]), said)


def _whole(percent: float | None) -> str:
    return "–" if percent is None else f"{percent:.0f}%"


def _inside(objectives: Sequence[Mapping[str, Any]]) -> float | None:
    requests = sum(one["requests"] for one in objectives)
    return sum(one["requests"] - one["outside"] for one in objectives) / requests if requests else None


# ---------------------------------------------------------------- tables


def speeds(stats: Stats) -> None:
    """Percentiles of the whole range, by strategy and by stage."""
    latency = stats["window"]["latency"]
    named = {words.STRATEGY[s]: latency["by_strategy"][s.value] for s in Strategy}
    named |= {stage(n): latency["by_stage"][n] for n in STAGE if n in latency["by_stage"]}
    seen = {name: row for name, row in named.items() if row["count"]}
    if not seen:
        st.caption(f"Nothing was measured {during(stats['range']['name'])}.")
        return
    columns = {
        "": list(seen),
        **{f"{p} ms": [words.decimals(row[p]) for row in seen.values()] for p in ("p50", "p95", "p99")},
        "Count": [f"{row['count']:,}" for row in seen.values()],
    }
    _table(columns, "Times of strategies and stages")
    st.caption("Percentiles are within 2.5% of the exact ones.")


def tiers(stats: Stats) -> None:
    """Size, coverage and lag of cache and Qdrant."""
    found = list(stats["tiers"].values())
    columns = {
        "Tier": [words.COMPONENT[tier["name"]] for tier in found],
        "Kind": [tier["kind"] for tier in found],
        "Templates": [f"{tier['templates']:,}" if tier["kind"] != "off" else "–" for tier in found],
        "Coverage": [share(tier["coverage"] if tier["kind"] != "off" else None) for tier in found],
        "Behind": [words.count(tier["lag"], "change") if tier["kind"] != "off" else "–" for tier in found],
    }
    _table(columns, "Size, coverage and lag of the two tiers")


def _table(columns: Mapping[str, Sequence[str]], caption: str) -> None:
    """`columns` by their title; the first one names the rows."""
    head = "".join(f'<th scope="col" class="robi-quiet">{words.escape(title)}</th>' for title in columns)
    body = "".join(
        f'<tr><th scope="row">{words.escape(name)}</th>'
        + "".join(f"<td>{words.escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in zip(*columns.values(), strict=True)
    )
    st.html(f'<table class="robi-table" aria-label="{words.escape(caption)}"><tr>{head}</tr>{body}</table>')


def hardware(stats: Stats) -> None:
    """Each GPU with its figures, or CPU mode with what it has."""
    faces, cpu, memory = stats["faces"], stats["cpu"], stats["memory"]
    with st.container(border=True):
        for gpu in stats["gpus"]:
            st.markdown(f"**GPU {gpu['index']}** · {words.plain(gpu['name'])}")
            st.caption(words.plain(card(gpu)))
        for lost in stats["lost_gpus"]:
            st.markdown(f":red[**!** {words.plain(lost['sentence'])}]")
        if not stats["gpus"]:
            st.markdown("**CPU mode**")
            if not stats["lost_gpus"]:
                reason = str(stats["gpu"]["reason"] or "").removeprefix("CPU mode: ")
                st.caption(words.plain(reason[:1].upper() + reason[1:]))
        st.caption(
            f"Face models run on {words.plain(faces['provider'])}; {words.count(cpu['cores'], 'core')}, "
            f"{memory['available_mb'] / 1024:.1f} of {memory['total_mb'] / 1024:.1f} GB of memory free."
        )


def card(gpu: Mapping[str, Any]) -> str:
    """`41% busy, 3.0 of 24.0 GB, 63 °C, 72 of 150 W`, without what the card does not tell."""
    said = []
    if gpu["utilisation_percent"] is not None:
        said.append(f"{gpu['utilisation_percent']}% busy")
    if gpu["memory_used_mb"] is not None:
        used, total = gpu["memory_used_mb"] / 1024, gpu["memory_total_mb"] / 1024
        said.append(f"{used:.1f} of {total:.1f} GB in use")
    if gpu["temperature_c"] is not None:
        said.append(f"{gpu['temperature_c']} °C")
    if gpu["power_w"] is not None:
        limit = f" of {gpu['power_limit_w']:.0f}" if gpu["power_limit_w"] else ""
        said.append(f"{gpu['power_w']:.0f}{limit} W")
    return ", ".join(said) or "It tells no figures."
