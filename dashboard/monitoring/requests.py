"""Blocks of the monitoring page about requests: the targets, and the slowest ones stage by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import streamlit as st

from core.domain.objectives import COLD, ENROLL, HOT
from core.domain.search import Strategy
from core.metrics.figures import ObjectiveShare
from core.metrics.slow import SEARCH, SlowRequest
from core.monitoring.stats import Report
from dashboard.monitoring.blocks import during, share, stage
from dashboard.shared import widgets, words

KIND: Mapping[str, str] = MappingProxyType(
    {"search": "Search", "verification": "Verification", "enrollment": "Enrollment"}
)
_CHOICE: Mapping[str, str] = MappingProxyType(
    {
        "all": "All",
        "search": "Searches",
        "verification": "Verifications",
        "enrollment": "Enrollments",
    }
)
_HEIGHT = 520
_MET = 0.99  # of the requests inside: as good as kept
_NEARLY = 0.95
_COLOURS: Mapping[str, str] = MappingProxyType(  # mid-tones, legible on both backgrounds
    {
        "detect": "#8a6fd1",
        "embed": "#4f7fd9",
        "hot": "#c77d0a",
        "cold": "#c2407f",
        "merge": "#3f9c5a",
        "join": "#2a8f8a",
        "compare": "#5f8f4e",
        "commit": "#8c5a3c",
        "sync": "#6d8f1f",
        "waiting": "#d04a52",
        "rest": "#7a86a0",
    }
)


def objectives(report: Report) -> None:
    """Each target: the share of requests inside, and what the others lost their time with.

    Always in two lines: nothing below moves when the first request takes too long.
    """
    said = during(report.measured.range.name)
    with st.container(border=True):
        widgets.rows([_objective(one, said) for one in report.measured.window.objectives])


def _objective(one: ObjectiveShare, said: str) -> tuple[str, str, str, str]:
    limit = f"{one.limit_ms / 1000:.0f} s" if one.limit_ms >= 1000 else f"{one.limit_ms:.0f} ms"
    head = f"<b>{words.escape(one.requests_are)}</b> under {limit}"
    if one.inside is None:
        return "unknown", "–", f'{head}<br><span class="robi-quiet">None {said}.<br>&nbsp;</span>', ""
    inside = one.inside
    meaning, shape = (
        ("match", "✓") if inside >= _MET else ("review", "?") if inside >= _NEARLY else ("alert", "!")
    )
    burned = ", ".join(f"{stage(name)} {part:.0%}" for name, part in list(one.burned_by.items())[:2])
    lost = f"{one.outside:,} outside: most by {words.escape(burned)}." if burned else "None outside."
    detail = f"{one.requests - one.outside:,} of {one.requests:,} {said}.<br>{lost}"
    return meaning, shape, f'{head}<br><span class="robi-quiet">{detail}</span>', f"<b>{share(inside)}</b>"


def slowest(report: Report) -> None:
    """The worst requests of the last hours, each with where its time went."""
    chosen = st.segmented_control(
        "Kind of request",
        list(_CHOICE),
        default="all",
        required=True,
        format_func=_CHOICE.__getitem__,
        key="monitoring_slow_kind",
        label_visibility="collapsed",
    )
    found = [one for one in report.slow if chosen in ("all", one.kind)][:50]
    if not found:
        st.container(border=True).markdown("No such request in the last 6 hours.")
        return
    with st.container(border=True, height=_HEIGHT):
        st.html(_legend(found))
        widgets.rows([_slow(one) for one in found])


def _slow(one: SlowRequest) -> tuple[str, str, str, str]:
    over = one.total_ms >= _limit(one)
    strategy = f", {words.STRATEGY[Strategy(one.strategy)]}" if one.strategy else ""
    spent = sorted(one.stages.items(), key=lambda item: item[1], reverse=True)
    parts = " · ".join(f"{stage(name)} {words.milliseconds(ms)}" for name, ms in spent if ms >= 0.05)
    reference = f"<br>{words.escape(one.request_id)}" if one.request_id else ""
    head = f"<b>{words.milliseconds(one.total_ms)}</b> {KIND[one.kind]}{words.escape(strategy)}"
    return (
        "alert" if over else "unknown",
        "!" if over else "–",
        f'{head}{_bar(one.stages)}<span class="robi-quiet">{words.escape(parts)}</span>',
        f'<span class="robi-quiet">{widgets.when(one.at)}{reference}</span>',
    )


def _limit(one: SlowRequest) -> float:
    if one.kind == SEARCH:
        return COLD.limit_ms if "cold" in one.stages else HOT.limit_ms
    return ENROLL.limit_ms


def _bar(stages: Mapping[str, float]) -> str:
    total = sum(stages.values()) or 1.0
    parts = "".join(
        f'<i style="width:{100 * ms / total:.1f}%;background:{_COLOURS.get(name, "#7a86a0")}"></i>'
        for name, ms in stages.items()
        if ms > 0
    )
    style = "display:flex;height:6px;border-radius:3px;overflow:hidden;margin:4px 0"
    return f'<span style="{style}" aria-hidden="true">{parts}</span>'


def _legend(found: Sequence[SlowRequest]) -> str:
    named = [name for name in _COLOURS if any(one.stages.get(name, 0) > 0 for one in found)]
    parts = " ".join(
        f'<span style="margin-right:1rem;white-space:nowrap"><i style="display:inline-block;width:10px;'
        f'height:10px;border-radius:2px;margin-right:4px;background:{_COLOURS[name]}"></i>{stage(name)}</span>'
        for name in named
    )
    return f'<div class="robi-quiet" style="line-height:1.7">{parts}</div>'
