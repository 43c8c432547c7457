"""The calibration page's target: so many false matches at most, and the threshold that keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

from core.calibration.model import Calibration, Kind, Target, ThresholdChoice
from core.calibration.threshold_choice import choose
from dashboard.calibration.curves import NO_MISSES
from dashboard.calibration.measure import interval
from dashboard.calibration.words import rate
from dashboard.shared import widgets, words

_KINDS: Mapping[Kind, str] = {"1:N": "of strangers (1:N)", "1:1": "of impostors (1:1)"}


def block(
    calibration: Calibration, people: int, at: float, move: Callable[[float], None]
) -> ThresholdChoice | None:
    """Asks for the target and answers with the threshold, or why there is none. `at`: where the handle is."""
    st.header("By target", anchor=False)
    with st.container(border=True):
        left, right = st.columns(2)
        matches = left.number_input(
            "False matches, at most", 1, 1000, value=1, key="target_matches", persist_state="page"
        )
        probes = right.number_input(
            "in this many probes",
            10,
            1_000_000_000,
            value=10_000,
            step=1000,
            key="target_probes",
            persist_state="page",
        )
        kind = st.segmented_control(
            "Probes",
            list(_KINDS),
            default="1:N",
            required=True,
            format_func=lambda kind: _KINDS[kind],
            key="target_kind",
            persist_state="page",
            width="stretch",
            label_visibility="collapsed",
            help="1:N asks who somebody is among everybody enrolled; 1:1 whether they are who they say.",
        )
        choice = widgets.trying(
            lambda: choose(calibration, Target(float(matches), int(probes), kind), people)
        )
        if choice:
            _answer(choice, at, move)
    return choice


def _answer(choice: ThresholdChoice, handle: float, move: Callable[[float], None]) -> None:
    at = round(choice.threshold, 3)
    missed = NO_MISSES
    if choice.miss:
        missed = (
            f"{rate(choice.miss.value)} of known people are missed there ({interval(choice.miss.interval)})."
        )
    if choice.supported:
        st.markdown(f"**Threshold {at:.3f}**: {missed}")
        st.caption(
            f"Expected false matches: {rate(choice.false_match.value)} "
            f"({interval(choice.false_match.interval)}). {words.plain(choice.why)}"
        )
    else:
        st.warning(
            words.plain(choice.why), title="This gallery cannot support that target", icon=":material/block:"
        )
        lowest = "The lowest threshold without a false match in this sample is"
        if choice.false_match.errors:
            lowest = "The highest threshold that can be set is"
        st.caption(f"{lowest} **{at:.3f}**. {missed}")
    st.button(
        f"Move the handle to {at:.3f}",
        key="target_take",
        icon=":material/adjust:",
        disabled=round(handle, 3) == at,
        on_click=move,
        args=(at,),
    )
