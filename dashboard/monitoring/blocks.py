"""Blocks of the monitoring page. Each draws from the report, and from nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import streamlit as st

from core.domain.search import Strategy
from core.domain.system import ServerState
from core.metrics.figures import ObjectiveShare
from core.metrics.gauges import LIVE_SESSIONS
from core.monitoring.snapshot import SystemSnapshot
from core.monitoring.stats import Report
from core.runtime.hardware import Gpu
from dashboard.shared import words

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


def tiles(report: Report, strategy: Strategy) -> None:
    """The figures of the whole range, and of this moment."""
    window, said = report.measured.window, during(report.measured.range.name)
    seen, machine = report.seen, report.seen.machine
    with st.grid(4, min_column_width=150):
        _tile("Searches a second", f"{window.throughput.searches_per_s:.2f}", f"Mean {said}.")
        _tile(
            "Search time, p95",
            words.milliseconds(window.latency.by_strategy[strategy.value].p95),
            f"{words.STRATEGY[strategy]}: 95 of 100 searches {said} were faster.",
        )
        _tile("Within target", share(_inside(window.objectives)), f"Requests {said} that met their target.")
        _tile(
            "Without an answer",
            share(window.error_rate),
            f"Searches {said} that got an error instead of an answer.",
        )
        _tile(
            "Cache hit rate",
            share(window.hit_rate.hit_rate),
            f"Of the searches with a match {said}, the share whose person was in the cache.",
        )
        _processor(seen)
        _tile(
            "Memory of Robi",
            f"{(machine.rss_mb + machine.children_mb) / 1024:.1f} GB",
            f"Robi's process {machine.rss_mb:,} MB, its helpers {machine.children_mb:,} MB; "
            f"{machine.available_mb / 1024:.1f} of {machine.total_mb / 1024:.1f} GB are free.",
        )
        _tile("Cameras in use", f"{seen.watched.get(LIVE_SESSIONS, 0):.0f}", "Live pictures open now.")


def searched(report: Report) -> None:
    """One line, whatever there was: nothing below it moves at the first search."""
    searches = report.measured.window.searches
    said = words.count(searches, "search", "searches") if searches else "Nothing was searched"
    st.markdown(f"{said} {during(report.measured.range.name)}.")


def _tile(label: str, value: str, help_: str) -> None:
    st.metric(label, value, border=True, height="stretch", help=help_)


def _processor(seen: SystemSnapshot) -> None:
    gpu, machine = seen.gpu, seen.machine
    if gpu is not None and gpu.utilisation_percent is not None:
        _tile("GPU", f"{gpu.utilisation_percent}%", words.plain(gpu.name))
    else:
        said = f"Of {words.count(machine.cores, 'core')}; Robi's process {_whole(machine.process_percent)}."
        _tile("CPU", _whole(machine.cpu_percent), said)


def _whole(percent: float | None) -> str:
    return "–" if percent is None else f"{percent:.0f}%"


def _inside(objectives: Sequence[ObjectiveShare]) -> float | None:
    requests = sum(one.requests for one in objectives)
    return sum(one.requests - one.outside for one in objectives) / requests if requests else None


# ---------------------------------------------------------------- tables


def speeds(report: Report) -> None:
    """Percentiles of the whole range, by strategy and by stage."""
    latency = report.measured.window.latency
    named = {words.STRATEGY[s]: latency.by_strategy[s.value] for s in Strategy}
    named |= {stage(n): latency.by_stage[n] for n in STAGE if n in latency.by_stage}
    seen = {name: row for name, row in named.items() if row.count}
    if not seen:
        st.caption(f"Nothing was measured {during(report.measured.range.name)}.")
        return
    columns = {
        "": list(seen),
        "p50 ms": [words.decimals(row.p50) for row in seen.values()],
        "p95 ms": [words.decimals(row.p95) for row in seen.values()],
        "p99 ms": [words.decimals(row.p99) for row in seen.values()],
        "Count": [f"{row.count:,}" for row in seen.values()],
    }
    _table(columns, "Times of strategies and stages")
    st.caption("Percentiles are within 2.5% of the exact ones.")


def tiers(report: Report) -> None:
    """Size, coverage and lag of cache and Qdrant."""
    found = report.seen.tiers
    columns = {
        "Tier": [words.COMPONENT[tier.name] for tier in found],
        "Kind": [tier.kind for tier in found],
        "Templates": [f"{tier.templates:,}" if tier.kind != "off" else "–" for tier in found],
        "Coverage": [share(tier.coverage if tier.kind != "off" else None) for tier in found],
        "Behind": [words.count(tier.lag, "change") if tier.kind != "off" else "–" for tier in found],
    }
    _table(columns, "Size, coverage and lag of the two tiers")


def server(found: ServerState) -> None:
    """The nodes of a Qdrant server with the copies that each holds, and what there is to know of it."""
    answers = {node.url: "yes" if node.answers else "no" for node in found.nodes}
    nodes = [*answers, *sorted({one.node for one in found.replicas} - set(answers))]
    columns = {
        "Node": nodes,
        "Answers": [answers.get(node, "not asked") for node in nodes],
        "Copies": [_copies(found, node, reached=answers.get(node) != "no") for node in nodes],
    }
    _table(columns, "Nodes of the Qdrant server and the copies on each")
    said = [f"The collection is {found.status}."] if found.status else []
    if found.unindexed:
        said.append(f"{words.count(found.unindexed, 'vector')} not in its graph yet.")
    said += [f"Shard {one.shard} is on its way from {one.source} to {one.target}." for one in found.transfers]
    said += [f"{note[:1].upper()}{note[1:]}." for note in found.notes]
    st.caption(words.plain(" ".join(said)))


def _copies(found: ServerState, node: str, *, reached: bool) -> str:
    """`2 active, 1 dead`; whoever does not answer has none that can be reached, whatever they were."""
    states = Counter(
        one.state.lower() if reached else "out of reach" for one in found.replicas if one.node == node
    )
    return ", ".join(f"{number} {state}" for state, number in sorted(states.items())) or "–"


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


def hardware(report: Report) -> None:
    """Each GPU with its figures, or CPU mode with what it has."""
    seen, cards, machine = report.seen, report.seen.cards, report.seen.machine
    with st.container(border=True):
        for gpu in cards.gpus:
            st.markdown(f"**GPU {gpu.index}** · {words.plain(gpu.name)}")
            st.caption(words.plain(card(gpu)))
        for lost in cards.lost:
            st.markdown(f":red[**!** {words.plain(lost.sentence)}]")
        if not cards.gpus:
            st.markdown("**CPU mode**")
            if not cards.lost:
                reason = seen.why_no_gpu.removeprefix("CPU mode: ")
                st.caption(words.plain(reason[:1].upper() + reason[1:]))
        st.caption(
            f"Face models run on {words.plain(seen.faces.provider)}; {words.count(machine.cores, 'core')}, "
            f"{machine.available_mb / 1024:.1f} of {machine.total_mb / 1024:.1f} GB of memory free."
        )


def card(gpu: Gpu) -> str:
    """`41% busy, 3.0 of 24.0 GB, 63 °C, 72 of 150 W`, without what the card does not tell."""
    said = []
    if gpu.utilisation_percent is not None:
        said.append(f"{gpu.utilisation_percent}% busy")
    if gpu.memory_used_mb is not None and gpu.memory_total_mb is not None:
        said.append(f"{gpu.memory_used_mb / 1024:.1f} of {gpu.memory_total_mb / 1024:.1f} GB in use")
    if gpu.temperature_c is not None:
        said.append(f"{gpu.temperature_c} °C")
    if gpu.power_w is not None:
        limit = f" of {gpu.power_limit_w:.0f}" if gpu.power_limit_w else ""
        said.append(f"{gpu.power_w:.0f}{limit} W")
    return ", ".join(said) or "It tells no figures."
