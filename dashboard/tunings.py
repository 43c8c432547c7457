"""What was tuned while Robi ran: each change with its reason, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import streamlit as st

from core.service import RobiService
from core.tuning import TuningStep
from core.types import Strategy
from dashboard import widgets, words

LABEL: Mapping[str, str] = MappingProxyType(
    {
        "strategy": "Strategy",
        "threshold": "Threshold",
        "margin": "Margin",
        "review_band": "Review band",
        "index_type": "FAISS index",
        "nprobe": "FAISS nprobe",
        "search_ef": "Qdrant ef",
    }
)
SETTING: Mapping[str, str] = MappingProxyType(
    {
        "strategy": "search_strategy",
        "threshold": "face_threshold",
        "margin": "face_margin",
        "review_band": "face_review_band",
        "index_type": "faiss_index_type",
        "nprobe": "faiss_nprobe",
        "search_ef": "qdrant_search_ef",
    }
)
"""The setting that each tuned value stands over."""


def said(name: str, value: Any) -> str:
    """A tuned value as the screen says it."""
    if name == "strategy":
        return words.STRATEGY[Strategy(value)]
    return f"{value:.2f}" if isinstance(value, float) and round(value, 2) == value else str(value)


def summary(values: Mapping[str, Any]) -> str:
    """What differs from the settings, such as `Threshold 0.45 · Strategy Cache first`."""
    parts = [f"{LABEL.get(name, name)} {said(name, value)}" for name, value in values.items()]
    return " · ".join(parts) or "As the settings say"


def show_changes(service: RobiService, *, key: str, most: int = 10) -> None:
    """The latest changes, newest first; the newest can be undone, and so can any before it."""
    steps = service.tunings()[:most]
    if not steps:
        st.caption("Nothing was changed yet: the settings of the environment are in effect.")
    with st.container(border=bool(steps), gap="xsmall"):
        for step in steps:
            _show_step(service, step, f"{key}_{step.id}")


def _show_step(service: RobiService, step: TuningStep, key: str) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.html(
            f"<b>{words.escape(summary(step.values))}</b> "
            f'<span class="robi-quiet">{words.escape(step.reason)} · {widgets.when(step.at)}</span>'
        )
        if st.button("Undo", key=key, icon=":material/undo:", help="Back to what held before this change."):
            undone = widgets.trying(lambda: service.revert(step.id))
            if undone:
                widgets.flash(f"In effect now: {summary(undone.values)}.")
                st.rerun()
