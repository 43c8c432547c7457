"""What was tuned while Robi ran: each change with its reason, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import streamlit as st

from core.config.tuning import Tuning, TuningStep
from core.domain.bounds import EYE_DISTANCE
from core.domain.search import Strategy
from core.services.service import RobiService
from core.services.tuning import MAX_REASON
from dashboard.shared import widgets, words

LABEL: Mapping[str, str] = MappingProxyType(
    {
        "strategy": "Strategy",
        "threshold": "Threshold",
        "margin": "Margin",
        "review_band": "Review band",
        "min_eye_distance": "Least distance of the eyes",
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
        "min_eye_distance": "face_min_eye_distance",
        "index_type": "faiss_index_type",
        "nprobe": "faiss_nprobe",
        "search_ef": "qdrant_search_ef",
    }
)
"""The setting that each tuned value takes precedence over."""
_ASKING = "face_size_asking"


def said(name: str, value: Any) -> str:
    """A tuned value as the screen says it."""
    if name == "strategy":
        return words.STRATEGY[Strategy(value)]
    if name == "min_eye_distance":
        return f"{value:g} px"
    return f"{value:.2f}" if isinstance(value, float) and round(value, 2) == value else str(value)


def summary(values: Mapping[str, Any]) -> str:
    """What differs from the settings, such as `Threshold 0.45 · Strategy Cache first`."""
    parts = [f"{LABEL.get(name, name)} {said(name, value)}" for name, value in values.items()]
    return " · ".join(parts) or "As the settings say"


def show_changes(service: RobiService, *, key: str, most: int = 10) -> None:
    """The latest changes, newest first, each with what it changed; the newest can be undone, and so can
    any before it, with all that came after."""
    steps = service.tuning.latest()
    if not steps:
        st.caption("Nothing was changed yet: the settings of the environment are in effect.")
        return
    usual = asdict(Tuning.of(service.settings))
    with st.container(border=True, gap="xsmall"):
        for number, step in enumerate(steps[:most]):
            before = steps[number + 1].values if number + 1 < len(steps) else {}
            changed = _changed({**usual, **before}, {**usual, **step.values})
            _show_step(service, step, changed, f"{key}_{step.id}", newest=number == 0)


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """`Threshold 0.40 → 0.45, Strategy Hybrid → Cache first` as HTML."""
    parts = [
        f"{LABEL.get(name, name)} {_said(name, before[name])} → <b>{_said(name, after[name])}</b>"
        for name in LABEL
        if before[name] != after[name]
    ]
    return ", ".join(parts) or "<b>As the settings say</b>"


def _said(name: str, value: Any) -> str:
    return words.escape(said(name, value))


def _show_step(service: RobiService, step: TuningStep, changed: str, key: str, *, newest: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        quiet = f"{words.escape(step.reason)} · {widgets.when(step.at)}"
        st.html(f'{changed}<br><span class="robi-quiet">{quiet}</span>', width="stretch")
        if st.button(
            "Undo" if newest else "Undo from here",
            key=key,
            icon=":material/undo:",
            help="Back to what held before this change."
            if newest
            else "Back to what held before this change: takes it back, and every change after it.",
        ):
            undone = widgets.trying(lambda: service.tuning.undo(step.id))
            if undone:
                widgets.flash(f"In effect now: {summary(undone.values)}.")
                st.rerun()


def offer_face_size(service: RobiService) -> None:
    """A button that asks how small a face may be to be recognised for certain, and why it changes."""
    if st.button("Change…", key="face_size_change", icon=":material/tune:"):
        st.session_state[_ASKING] = True
    if st.session_state.get(_ASKING):
        _ask_face_size(service)


def _answered() -> None:
    st.session_state.pop(_ASKING, None)


@st.dialog("How small may a face be?", icon=":material/tune:", on_dismiss=_answered)
def _ask_face_size(service: RobiService) -> None:
    now = service.tuning.now.min_eye_distance
    st.markdown(
        "A face with fewer pixels between the eyes is for review at most, however similar. It counts from "
        "the next picture on, live cameras too, is kept over a restart and can be undone."
    )
    new = st.number_input(
        "Pixels between the eyes", EYE_DISTANCE.low, EYE_DISTANCE.high, round(now), key="face_size_new"
    )
    reason = st.text_area(
        "Reason",
        key="face_size_reason",
        height=90,
        placeholder="The camera at the gate is far away",
        help=f"Required, up to {MAX_REASON} characters. It is kept with the change, for whoever asks why.",
    )
    with st.container(horizontal=True):
        confirmed = st.button("Apply", type="primary", icon=":material/check:", key="face_size_apply")
        if st.button("Leave it", key="face_size_leave"):
            _answered()
            st.rerun()
    step = {"min_eye_distance": float(new)}
    if confirmed and (_step := widgets.trying(lambda: service.tuning.tune(step, reason or ""))):
        _answered()
        widgets.flash(f"A face needs {new} pixels between the eyes now; it needed {now:g}.")
        st.rerun()
