"""Every figure behind the picture of a comparison: tables, curves, and what they are figures of."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.benchmark.model import Measurement, Run, Setting
from dashboard.shared import widgets, words
from dashboard.strategies import charts as figures
from dashboard.strategies import table as table
from dashboard.strategies import words as say

ROWS = 12  # of a table before the rest is folded away
MOST = 6  # lines that one figure can show and still be read


def tables(rows: Sequence[Measurement], live: Measurement | None, fields: frozenset[str]) -> None:
    ordered = sorted(rows, key=lambda row: say.value(row.p95) if row.p95 else float("inf"))
    if len(ordered) > ROWS and not st.toggle(f"All {len(ordered)} settings", key="strategies_all"):
        ordered = [row for number, row in enumerate(ordered) if number < ROWS or row is live]
    names = [say.named(row.setting, fields) + (" (in use)" if row is live else "") for row in ordered]
    st.header("How fast", anchor=False)
    table.show(
        {
            "Setting": names,
            "p50 ms": [say.estimate(row.p50, say.ms) for row in ordered],
            "p95 ms": [say.estimate(row.p95, say.ms) for row in ordered],
            "p99 ms": [say.estimate(row.p99, say.ms) for row in ordered],
            "Searches/s": [say.estimate(row.throughput_per_s, say.rate) for row in ordered],
            "Failures": [say.failures(row.failures) for row in ordered],
        },
        "Percentiles, throughput and failures of each setting, fastest first",
    )
    st.header("How well", anchor=False)
    table.show(
        {
            "Setting": names,
            "recall@1": [say.estimate(row.recall_at_1, say.share) for row in ordered],
            "recall@5": [say.estimate(row.recall_at_5, say.share) for row in ordered],
            "As the exact search": [say.estimate(row.agreement, say.share) for row in ordered],
            "Wrong cache top-1": [say.estimate(row.wrong_cache_top1, say.share) for row in ordered],
            "Index": [row.hot_kind or "–" for row in ordered],
            "Memory": [say.memory(row.memory_bytes) for row in ordered],
        },
        "Recall, agreement with the exact search, wrong first people of the cache, and memory",
    )
    st.caption(
        "In brackets: 95% confidence; “or more” where there are too few searches for an upper end. "
        "recall@1: the exact search's person is the first candidate. recall@5: of its five nearest, those "
        "among the candidates. As the exact search: same decision, same person. Wrong cache top-1: the "
        "cache's first person was not the final one. The exact search compares with every template."
    )


def curves(
    run: Run,
    rows: Sequence[Measurement],
    chosen: Setting,
    live: Measurement | None,
    fields: frozenset[str],
) -> None:
    shown = _most_telling(run, rows, chosen, live)
    names = [say.named(row.setting, fields) for row in shown]
    if len(shown) < len(rows):
        st.caption(
            f"The figures below show {len(shown)} of {len(rows)} settings: the one in use, the one "
            "chosen, the Pareto front, and the fastest of each strategy."
        )
    left, right = st.columns(2, gap="medium")
    with left:
        st.header("Latency: share of searches answered within", anchor=False)
        st.echarts_chart(
            figures.ecdf(shown, names),
            height=320,
            key=f"strategies_ecdf_{run.id}",
            alt="Cumulative distribution of search times, one line a setting",
        )
        st.header("Where the time went", anchor=False)
        st.echarts_chart(
            figures.stages(shown, names),
            height=120 + 44 * len(shown),
            key=f"strategies_stages_{run.id}",
            alt="Mean time of cache, Qdrant, merge and names for each setting",
        )
        st.caption(
            "Mean of the searches in which a stage ran. Hybrid asks cache and Qdrant at the same time."
        )
    with right:
        st.header("Throughput against load", anchor=False)
        _throughput(run, shown, names)
        st.header("Who supplied the winner", anchor=False)
        st.echarts_chart(
            figures.sources(shown, names),
            height=120 + 44 * len(shown),
            key=f"strategies_sources_{run.id}",
            alt="Share of matches found by the cache, by Qdrant and by both",
        )


def _throughput(run: Run, shown: Sequence[Measurement], names: Sequence[str]) -> None:
    if len({row.concurrency for row in run.rows}) < 2:
        st.caption("Measured at one load only. Choose several under “Searches at once” to see the curve.")
        return
    by_name = {
        name: [row for row in run.rows if row.setting == first.setting]
        for first, name in zip(shown, names, strict=True)
    }
    st.echarts_chart(
        figures.throughput(by_name),
        height=320,
        key=f"strategies_throughput_{run.id}",
        alt="Searches a second against clients at once, one line a setting",
    )


def _most_telling(
    run: Run, rows: Sequence[Measurement], chosen: Setting, live: Measurement | None
) -> list[Measurement]:
    """At most `MOST` rows: the one in use, the one chosen, the front, the fastest of each strategy."""
    if len(rows) <= MOST:
        return list(rows)
    front = {id(run.rows[number]) for number in run.pareto}
    wanted = [row for row in rows if row is live or row.setting == chosen]
    wanted += [row for row in rows if id(row) in front]
    fastest = sorted(rows, key=lambda row: say.value(row.p95) if row.p95 else float("inf"))
    wanted += list({row.setting.strategy: row for row in reversed(fastest)}.values())
    kept = {id(row) for row in list({id(row): row for row in wanted}.values())[:MOST]}
    return [row for row in rows if id(row) in kept]


def facts(run: Run) -> None:
    """What the figures are figures of."""
    for note in run.notes:
        st.caption(words.plain(note))
    request, machine = run.request, run.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    probes = f"{words.count(request.count, 'probe')} ({say.PROBES[request.probes.kind].lower()})"
    people = words.count(run.gallery_people, "person", "people")
    templates = words.count(run.gallery_templates, "template")
    memory = f"{machine.memory_bytes / 1e9:.0f} GB"
    told = (
        f"{say.run_name(run.name, run.id)}: {words.exact(run.at, widgets.here())},"
        f" took {say.seconds(run.duration_s)}."
        f" {probes}, k {request.k}, threshold {words.similarity(request.threshold)}, seed {request.seed}."
        f" Gallery: {people}, {templates} of {run.dimension} dimensions, pack {run.pack}."
        f" Machine: {words.count(machine.cores, 'core')}, {memory}, {machine.platform}; {versions}."
    )
    st.caption(words.plain(told))
