"""Everything that the monitoring page draws over time. Each figure is made from the dict of `/stats`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import streamlit as st

from core.domain.objectives import COLD, ENROLL, HOT
from core.domain.search import Strategy
from dashboard.monitoring import charts
from dashboard.monitoring.blocks import Stats, stage
from dashboard.monitoring.charts import Column, TimeSpan
from dashboard.shared import words

_HEIGHT = 240
_OF_SEARCH = ("hot", "cold", "merge", "join", "compare")
_OF_FACES = ("detect", "embed", "commit", "sync", "enroll")
_LIMITS = {f"cache {HOT.limit_ms:.0f} ms": HOT.limit_ms, f"Qdrant {COLD.limit_ms:.0f} ms": COLD.limit_ms}
_SLOWEST = {f"enroll {ENROLL.limit_ms / 1000:.0f} s": ENROLL.limit_ms}
_MANY_S = 600  # steps from here on are told by the hour
_CODES = 4  # error codes with a colour of their own
_GB = 1024.0  # megabytes


@dataclass(frozen=True, slots=True)
class Figure:
    """What to draw, under a title; `alt` says the same to who cannot see it."""

    title: str
    option: dict[str, Any]
    alt: str


def figures(stats: Stats) -> None:
    """Load and search time; below them the rows that were chosen, two figures abreast.

    A row that is not chosen costs nothing: each figure is drawn anew at every refresh.
    """
    percentile, chosen = _controls(stats)
    _row("requests", _requests(stats, percentile))
    for name in _offered(stats):
        if name in chosen:
            _row(name, ROWS[name](stats, percentile))


def _controls(stats: Stats) -> tuple[str, Sequence[str]]:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        percentile = st.segmented_control(
            "Percentile of the times",
            ["p50", "p95", "p99"],
            default="p95",
            required=True,
            key="monitoring_percentile",
        )
        chosen = st.pills(
            "More figures",
            _offered(stats),
            selection_mode="multi",
            key="figures",
            bind="query-params",
            wrap=True,
        )
    return percentile, chosen


def _offered(stats: Stats) -> list[str]:
    """GPUs only where there are any."""
    has_gpu = any(name.startswith("gpu.") for name in stats["series"]["gauges"])
    return [name for name in ROWS if name != "GPUs" or has_gpu]


def _row(name: str, pair: Sequence[Figure]) -> None:
    """Two abreast; one below the other on a phone."""
    for number, (place, figure) in enumerate(zip(st.columns(2, gap="medium"), pair, strict=True)):
        with place:
            st.header(figure.title, anchor=False)
            key = f"monitoring_{name}_{number}"
            st.echarts_chart(figure.option, height=_HEIGHT, key=key, alt=figure.alt)


def _requests(stats: Stats, percentile: str) -> Sequence[Figure]:
    series, span = stats["series"], TimeSpan.of(stats)
    rates = {"searches": series["searches_per_s"], "faces": series["recognitions_per_s"]}
    return (
        Figure("Load", charts.lines(span, rates, unit=" /s", filled=True), "Searches and faces a second"),
        Figure(
            f"Search time, {percentile}",
            charts.latencies(span, _by_strategy(series, percentile), _LIMITS),
            f"{percentile} of the search time by strategy, with the targets",
        ),
    )


def _errors_and_cache(stats: Stats, _: str) -> Sequence[Figure]:
    series, span = stats["series"], TimeSpan.of(stats)
    shares = {"hit rate": series["hit_rate"], "coverage": _gauge(series, "coverage.faiss")}
    cache = charts.lines(
        span, {n: _times(100, c) for n, c in shares.items()}, unit="%", highest=100, alike=True
    )
    return (
        _errors(stats, span),
        Figure("Cache", cache, "Hit rate of the cache, and the share of the gallery that it holds"),
    )


def _stages(stats: Stats, percentile: str) -> Sequence[Figure]:
    series, span = stats["series"], TimeSpan.of(stats)
    return (
        Figure(
            f"Stages of a search, {percentile}",
            charts.latencies(span, _by_stage(series, percentile, _OF_SEARCH), {}),
            f"{percentile} of each stage of a search",
        ),
        Figure(
            f"Faces and enrollment, {percentile}",
            charts.latencies(span, _by_stage(series, percentile, _OF_FACES), _SLOWEST),
            f"{percentile} of each stage of recognising and enrolling, with the target of an enrollment",
        ),
    )


def _tiers(stats: Stats, _: str) -> Sequence[Figure]:
    series, span = stats["series"], TimeSpan.of(stats)
    behind = {"cache": "lag.faiss", "Qdrant": "lag.qdrant"}
    held = {"cache": "templates.faiss", "Qdrant": "templates.qdrant"}
    return (
        Figure(
            "Changes behind",
            charts.lines(span, _found(series["peaks"], behind), whole=True, alike=True),
            "Changes that cache and Qdrant have not applied yet",
        ),
        Figure(
            "Templates held",
            charts.lines(span, _found(series["gauges"], held), whole=True, alike=True),
            "Templates in the cache and in Qdrant",
        ),
    )


def _queue(stats: Stats, _: str) -> Sequence[Figure]:
    series, span = stats["series"], TimeSpan.of(stats)
    queue = {
        **_found(series["peaks"], {"waiting, most": "queued.search"}),
        **_found(series["gauges"], {"answered together, mean": "batch.search"}),
    }
    cameras = _found(series["peaks"], {"cameras": "live_sessions"})
    return (
        Figure(
            "Queue", charts.lines(span, queue, whole=True), "Searches that waited, and the size of a batch"
        ),
        Figure("Cameras in use", charts.lines(span, cameras, whole=True), "Live pictures that were open"),
    )


def _machine(stats: Stats, _: str) -> Sequence[Figure]:
    series, span = stats["series"], TimeSpan.of(stats)
    busy = {"machine": "cpu_percent", "Robi": "process_percent"}
    memory = {"Robi": "rss_mb", "helpers": "children_mb", **_per_card(series, "", "memory_used_mb")}
    in_gb = {name: _times(1 / _GB, column) for name, column in _found(series["gauges"], memory).items()}
    return (
        Figure(
            "CPU",
            charts.lines(span, _found(series["gauges"], busy), unit="%", highest=100),
            "Load of the processor, and Robi's part",
        ),
        Figure("Memory", charts.lines(span, in_gb, unit=" GB"), "Memory of Robi, its helpers and each GPU"),
    )


def _gpus(stats: Stats, _: str) -> Sequence[Figure]:
    series, span = stats["series"], TimeSpan.of(stats)
    busy = _found(series["gauges"], _per_card(series, "", "utilisation_percent"))
    warm = {**_per_card(series, " °C", "temperature_c"), **_per_card(series, " W", "power_w")}
    return (
        Figure("GPU", charts.lines(span, busy, unit="%", highest=100), "Utilisation of each GPU"),
        Figure(
            "GPU temperature and power",
            charts.lines(span, _found(series["gauges"], warm)),
            "Temperature and power of each GPU",
        ),
    )


ROWS: Mapping[str, Callable[[Stats, str], Sequence[Figure]]] = MappingProxyType(
    {
        "Errors and cache": _errors_and_cache,
        "Stages": _stages,
        "Tiers": _tiers,
        "Queue and cameras": _queue,
        "Machine": _machine,
        "GPUs": _gpus,
    }
)
"""What can be drawn beside load and search time; each makes a row of two figures for a percentile."""


def _errors(stats: Stats, span: TimeSpan) -> Figure:
    """As rates, for points are not equally long: the minutes before a restart stand beside seconds."""
    series = stats["series"]
    unit, seconds = ("a minute", 60.0) if stats["range"]["step"] < _MANY_S else ("an hour", 3600.0)
    every = [seconds / length for length in series["seconds"]]
    by_code = {code: _weighed(every, column) for code, column in _by_code(series["errors"]).items()}
    option = charts.errors(span, by_code, _weighed(every, series["failed"]))
    return Figure(f"Errors {unit}", option, f"Refused or failed requests {unit} by error code")


def _by_strategy(series: Stats, percentile: str) -> dict[str, Column]:
    """All of them, also without searches: so each keeps its colour."""
    nothing = [None] * len(series["t"])
    return {
        words.STRATEGY[strategy]: series["by_strategy"].get(strategy.value, {}).get(percentile, nothing)
        for strategy in Strategy
    }


def _by_stage(series: Stats, percentile: str, names: Sequence[str]) -> dict[str, Column]:
    found = series["by_stage"]
    return {stage(name): found[name][percentile] for name in names if name in found}


def _by_code(errors: Mapping[str, Column]) -> dict[str, Column]:
    """The most frequent codes, and all others as one: a legend of twenty is none."""
    often = Counter({code: sum(filter(None, column)) for code, column in errors.items()})
    shown = [code for code, _ in often.most_common(_CODES)]
    rest = [column for code, column in errors.items() if code not in shown]
    others = {"others": [sum(filter(None, counts)) for counts in zip(*rest, strict=True)]} if rest else {}
    return {**{code: errors[code] for code in sorted(shown)}, **others}


def _per_card(series: Stats, unit: str, figure: str) -> dict[str, str]:
    cards = sorted({name.split(".")[1] for name in series["gauges"] if name.startswith("gpu.")})
    return {f"GPU {card}{unit}": f"gpu.{card}.{figure}" for card in cards}


def _found(columns: Mapping[str, Column], named: Mapping[str, str]) -> dict[str, Column]:
    return {said: columns[name] for said, name in named.items() if name in columns}


def _gauge(series: Stats, name: str) -> Column:
    found: Column = series["gauges"].get(name, [None] * len(series["t"]))
    return found


def _times(factor: float, column: Column) -> Column:
    return _weighed([factor] * len(column), column)


def _weighed(factors: Sequence[float], column: Column) -> Column:
    return [None if value is None else factor * value for factor, value in zip(factors, column, strict=True)]
