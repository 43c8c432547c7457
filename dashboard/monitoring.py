"""Blocks of the monitoring page. Each draws from the dict of `/stats`, and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd
import streamlit as st

from core.metrics.objectives import COLD, ENROLL, HOT
from core.types import Strategy
from dashboard import words
from dashboard.charts import load
from dashboard.charts.load import Column, Span

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
_HEIGHT = 240
_LIMITS = {f"cache {HOT.limit_ms:.0f} ms": HOT.limit_ms, f"Qdrant {COLD.limit_ms:.0f} ms": COLD.limit_ms}
_SLOWEST = {f"enroll {ENROLL.limit_ms / 1000:.0f} s": ENROLL.limit_ms}


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


def _tile(label: str, value: str, help_: str) -> None:
    st.metric(label, value, border=True, height="stretch", help=help_)


def _processor(stats: Stats) -> None:
    gpu, cpu = stats["gpu"], stats["cpu"]
    if gpu["available"] and gpu["utilisation_percent"] is not None:
        _tile("GPU", f"{gpu['utilisation_percent']} %", words.plain(str(gpu["name"])))
    else:
        said = f"Of {words.count(cpu['cores'], 'core')}; Robi's process {_whole(cpu['process_percent'])}."
        _tile("CPU", _whole(cpu["percent"]), said)


def _whole(percent: float | None) -> str:
    return "–" if percent is None else f"{percent:.0f} %"


def _inside(objectives: Sequence[Mapping[str, Any]]) -> float | None:
    requests = sum(one["requests"] for one in objectives)
    return sum(one["requests"] - one["outside"] for one in objectives) / requests if requests else None


# ---------------------------------------------------------------- figures


def figures(stats: Stats, percentile: str) -> None:
    """Everything over time, two abreast; one below the other on a phone."""
    series, span = stats["series"], Span.of(stats)
    _pair(
        (
            "Load",
            load.lines(
                span,
                {"searches": series["searches_per_s"], "faces": series["recognitions_per_s"]},
                unit=" /s",
                filled=True,
            ),
            "Searches and faces a second",
        ),
        (
            f"Search time, {percentile}",
            load.latencies(span, _by_strategy(series, percentile), _LIMITS),
            f"{percentile} of the search time by strategy, with the targets",
        ),
    )
    _pair(
        (
            f"Time of each stage, {percentile}",
            load.latencies(span, _by_stage(series, percentile), _SLOWEST),
            f"{percentile} of each stage, with the target of an enrollment",
        ),
        ("Cache", _cache(span, series), "Hit rate of the cache, and the share of the gallery that it holds"),
    )
    _pair(
        ("Errors", load.bars(span, _errors(series)), "Refused or failed requests by error code"),
        ("Changes behind", _lag(span, series), "Changes that cache and Qdrant have not applied yet"),
    )
    _pair(
        ("Queue", _queue(span, series), "Searches that waited, and how many were answered together"),
        _hardware(stats, span),
    )


def _pair(*found: tuple[str, dict[str, Any], str]) -> None:
    for place, (title, option, alt) in zip(st.columns(2, gap="medium"), found, strict=True):
        with place:
            st.subheader(title, anchor=False)
            key = f"monitoring_{alt.split()[-1]}_{title.split(',')[0]}"
            st.echarts_chart(option, height=_HEIGHT, key=key, alt=alt)


def _by_strategy(series: Stats, percentile: str) -> dict[str, Column]:
    """All of them, also without searches: so each keeps its colour."""
    nothing = [None] * len(series["t"])
    return {
        words.STRATEGY[strategy]: series["by_strategy"].get(strategy.value, {}).get(percentile, nothing)
        for strategy in Strategy
    }


def _by_stage(series: Stats, percentile: str) -> dict[str, Column]:
    found = series["by_stage"]
    return {stage(name): found[name][percentile] for name in STAGE if name in found}


def _cache(span: Span, series: Stats) -> dict[str, Any]:
    columns = {
        "hit rate": _percent(series["hit_rate"]),
        "coverage": _percent(series["gauges"].get("coverage.faiss", [None] * len(series["t"]))),
    }
    return load.lines(span, columns, unit=" %", highest=100)


def _errors(series: Stats) -> dict[str, Column]:
    return {**series["errors"], "searches without an answer": series["failed"]}


def _lag(span: Span, series: Stats) -> dict[str, Any]:
    named = {"cache": "lag.faiss", "Qdrant": "lag.qdrant"}
    peaks = series["peaks"]
    return load.lines(span, {said: peaks[name] for said, name in named.items() if name in peaks})


def _queue(span: Span, series: Stats) -> dict[str, Any]:
    columns: dict[str, Column] = {}
    if "queued.search" in series["peaks"]:
        columns["waiting, most"] = series["peaks"]["queued.search"]
    if "batch.search" in series["gauges"]:
        columns["together, mean"] = series["gauges"]["batch.search"]
    return load.lines(span, columns)


def _hardware(stats: Stats, span: Span) -> tuple[str, dict[str, Any], str]:
    gauges = stats["series"]["gauges"]
    cards = {name.split(".")[1] for name in gauges if name.startswith("gpu.")}
    called = {"utilisation_percent": "%", "temperature_c": "°C", "power_w": "W"}
    columns = {
        f"GPU {card} {unit}": gauges[f"gpu.{card}.{name}"]
        for card in sorted(cards)
        for name, unit in called.items()
        if f"gpu.{card}.{name}" in gauges
    }
    if columns:
        return "GPU", load.lines(span, columns), "Utilisation, temperature and power of each GPU"
    named = {"machine": "cpu_percent", "Robi": "process_percent"}
    columns = {said: gauges[name] for said, name in named.items() if name in gauges}
    return "CPU", load.lines(span, columns, unit=" %", highest=100), "Load of the processor, and Robi's part"


def _percent(column: Column) -> Column:
    return [None if value is None else 100 * value for value in column]


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
    frame = pd.DataFrame(
        {
            "": list(seen),
            **{f"{p} ms": [words.decimals(row[p]) for row in seen.values()] for p in ("p50", "p95", "p99")},
            "Times": [f"{row['count']:,}" for row in seen.values()],
        }
    )
    st.table(frame, border="horizontal", hide_index=True, alt="Times of strategies and stages")
    st.caption("Percentiles are within 2.5 % of the exact ones.")


def tiers(stats: Stats) -> None:
    """Size, coverage and lag of cache and Qdrant."""
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
    """`41 % busy, 3.0 of 24.0 GB, 63 °C, 72 of 150 W`, without what the card does not tell."""
    said = []
    if gpu["utilisation_percent"] is not None:
        said.append(f"{gpu['utilisation_percent']} % busy")
    if gpu["memory_used_mb"] is not None:
        used, total = gpu["memory_used_mb"] / 1024, gpu["memory_total_mb"] / 1024
        said.append(f"{used:.1f} of {total:.1f} GB in use")
    if gpu["temperature_c"] is not None:
        said.append(f"{gpu['temperature_c']} °C")
    if gpu["power_w"] is not None:
        limit = f" of {gpu['power_limit_w']:.0f}" if gpu["power_limit_w"] else ""
        said.append(f"{gpu['power_w']:.0f}{limit} W")
    return ", ".join(said) or "It tells no figures."
