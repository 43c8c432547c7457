"""Everything that the monitoring page draws over time. Each figure is made from the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import streamlit as st

from core.domain.objectives import COLD, ENROLL, HOT
from core.domain.search import Strategy
from core.metrics import gauges
from core.metrics.figures import Column, Series
from core.metrics.gauges import CARD, GaugeKey
from core.metrics.ranges import RangeFigures
from dashboard.monitoring import charts
from dashboard.monitoring.blocks import stage
from dashboard.monitoring.charts import TimeSpan
from dashboard.shared import words

_CACHE, _QDRANT = "faiss", "qdrant"  # what gauges call the tiers
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


def figures(measured: RangeFigures) -> None:
    """Load and search time; below them the rows that were chosen, two figures abreast.

    A row that is not chosen costs nothing: each figure is drawn anew at every refresh.
    """
    percentile, chosen = _controls(measured)
    _row("requests", load_and_speed(measured, percentile))
    for name in offered(measured):
        if name in chosen:
            _row(name, ROWS[name](measured, percentile))


def _controls(measured: RangeFigures) -> tuple[str, Sequence[str]]:
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
            offered(measured),
            selection_mode="multi",
            key="figures",
            bind="query-params",
            wrap=True,
        )
    return percentile, chosen


def offered(measured: RangeFigures) -> list[str]:
    """GPUs only where there are any."""
    return [name for name in ROWS if name != "GPUs" or _cards(measured.series)]


def _row(name: str, pair: Sequence[Figure]) -> None:
    """Two abreast; one below the other on a phone."""
    for number, (place, figure) in enumerate(zip(st.columns(2, gap="medium"), pair, strict=True)):
        with place:
            st.header(figure.title, anchor=False)
            key = f"monitoring_{name}_{number}"
            st.echarts_chart(figure.option, height=_HEIGHT, key=key, alt=figure.alt)


def load_and_speed(measured: RangeFigures, percentile: str) -> Sequence[Figure]:
    series, span = measured.series, TimeSpan.of(measured)
    rates = {"searches": series.searches_per_s, "faces": series.recognitions_per_s}
    return (
        Figure("Load", charts.lines(span, rates, unit=" /s", filled=True), "Searches and faces a second"),
        Figure(
            f"Search time, {percentile}",
            charts.latencies(span, _by_strategy(series, percentile), _LIMITS),
            f"{percentile} of the search time by strategy, with the targets",
        ),
    )


def _errors_and_cache(measured: RangeFigures, _: str) -> Sequence[Figure]:
    series, span = measured.series, TimeSpan.of(measured)
    shares = {"hit rate": series.hit_rate, "coverage": _gauge(series, GaugeKey(gauges.COVERAGE, _CACHE))}
    cache = charts.lines(
        span, {n: _times(100, c) for n, c in shares.items()}, unit="%", highest=100, alike=True
    )
    return (
        _errors(measured, span),
        Figure("Cache", cache, "Hit rate of the cache, and the share of the gallery that it holds"),
    )


def _stages(measured: RangeFigures, percentile: str) -> Sequence[Figure]:
    series, span = measured.series, TimeSpan.of(measured)
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


def _tiers(measured: RangeFigures, _: str) -> Sequence[Figure]:
    series, span = measured.series, TimeSpan.of(measured)
    behind, held = (
        {"cache": GaugeKey(what, _CACHE), "Qdrant": GaugeKey(what, _QDRANT)}
        for what in (gauges.LAG, gauges.TEMPLATES)
    )
    return (
        Figure(
            "Changes behind",
            charts.lines(span, _found(series.peaks, behind), whole=True, alike=True),
            "Changes that cache and Qdrant have not applied yet",
        ),
        Figure(
            "Templates held",
            charts.lines(span, _found(series.gauges, held), whole=True, alike=True),
            "Templates in the cache and in Qdrant",
        ),
    )


def _queue(measured: RangeFigures, _: str) -> Sequence[Figure]:
    series, span = measured.series, TimeSpan.of(measured)
    queue = {
        **_found(series.peaks, {"waiting, most": GaugeKey(gauges.QUEUED, "search")}),
        **_found(series.gauges, {"answered together, mean": GaugeKey(gauges.BATCH, "search")}),
    }
    cameras = _found(series.peaks, {"cameras": GaugeKey(gauges.LIVE_SESSIONS)})
    return (
        Figure(
            "Queue", charts.lines(span, queue, whole=True), "Searches that waited, and the size of a batch"
        ),
        Figure("Cameras in use", charts.lines(span, cameras, whole=True), "Live pictures that were open"),
    )


def _machine(measured: RangeFigures, _: str) -> Sequence[Figure]:
    series, span = measured.series, TimeSpan.of(measured)
    busy = {"machine": GaugeKey(gauges.CPU), "Robi": GaugeKey(gauges.PROCESS)}
    memory = {
        "Robi": GaugeKey(gauges.RSS),
        "helpers": GaugeKey(gauges.CHILDREN),
        **_per_card(series, "", gauges.MEMORY_USED),
    }
    in_gb = {name: _times(1 / _GB, column) for name, column in _found(series.gauges, memory).items()}
    return (
        Figure(
            "CPU",
            charts.lines(span, _found(series.gauges, busy), unit="%", highest=100),
            "Load of the processor, and Robi's part",
        ),
        Figure("Memory", charts.lines(span, in_gb, unit=" GB"), "Memory of Robi, its helpers and each GPU"),
    )


def _gpus(measured: RangeFigures, _: str) -> Sequence[Figure]:
    series, span = measured.series, TimeSpan.of(measured)
    busy = _found(series.gauges, _per_card(series, "", gauges.UTILISATION))
    warm = {**_per_card(series, " °C", gauges.TEMPERATURE), **_per_card(series, " W", gauges.POWER)}
    return (
        Figure("GPU", charts.lines(span, busy, unit="%", highest=100), "Utilisation of each GPU"),
        Figure(
            "GPU temperature and power",
            charts.lines(span, _found(series.gauges, warm)),
            "Temperature and power of each GPU",
        ),
    )


ROWS: Mapping[str, Callable[[RangeFigures, str], Sequence[Figure]]] = MappingProxyType(
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


def _errors(measured: RangeFigures, span: TimeSpan) -> Figure:
    """As rates, for points are not equally long: the minutes before a restart stand beside seconds."""
    series = measured.series
    unit, seconds = ("a minute", 60.0) if measured.range.step < _MANY_S else ("an hour", 3600.0)
    every = [seconds / length for length in series.seconds]
    rates = {code: _weighed(every, column) for code, column in by_code(series.errors).items()}
    option = charts.errors(span, rates, _weighed(every, series.failed))
    return Figure(f"Errors {unit}", option, f"Refused or failed requests {unit} by error code")


def _by_strategy(series: Series, percentile: str) -> dict[str, Column]:
    """All of them, also without searches: so each keeps its colour."""
    nothing = [None] * len(series.t)
    return {
        words.STRATEGY[strategy]: series.by_strategy.get(strategy.value, {}).get(percentile, nothing)
        for strategy in Strategy
    }


def _by_stage(series: Series, percentile: str, names: Sequence[str]) -> dict[str, Column]:
    found = series.by_stage
    return {stage(name): found[name][percentile] for name in names if name in found}


def by_code(errors: Mapping[str, Column]) -> dict[str, Column]:
    """The most frequent codes, and all others as one: a legend of twenty is none."""
    often = Counter({code: sum(filter(None, column)) for code, column in errors.items()})
    shown = [code for code, _ in often.most_common(_CODES)]
    rest = [column for code, column in errors.items() if code not in shown]
    others = {"others": [sum(filter(None, counts)) for counts in zip(*rest, strict=True)]} if rest else {}
    return {**{code: errors[code] for code in sorted(shown)}, **others}


def _per_card(series: Series, unit: str, what: str) -> dict[str, GaugeKey]:
    return {f"GPU {card}{unit}": GaugeKey(what, card) for card in _cards(series)}


def _cards(series: Series) -> list[str]:
    return sorted({key.of for key in series.gauges if key.what in CARD})


def _found(columns: Mapping[GaugeKey, Column], named: Mapping[str, GaugeKey]) -> dict[str, Column]:
    return {said: columns[key] for said, key in named.items() if key in columns}


def _gauge(series: Series, key: GaugeKey) -> Column:
    return series.gauges.get(key, [None] * len(series.t))


def _times(factor: float, column: Column) -> Column:
    return _weighed([factor] * len(column), column)


def _weighed(factors: Sequence[float], column: Column) -> Column:
    return [None if value is None else factor * value for factor, value in zip(factors, column, strict=True)]
