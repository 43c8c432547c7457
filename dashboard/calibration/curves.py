"""Error curves on the calibration page: DET, ROC, and error rates against the threshold, 1:1 and 1:N."""

from __future__ import annotations

import streamlit as st

from core.calibration.model import EXTRAPOLATION, Band, Calibration, Separation
from core.services.service import RobiService
from dashboard.calibration import charts as figures
from dashboard.calibration.det import both_err, det
from dashboard.calibration.words import rate
from dashboard.shared import words

HEIGHT = 320  # of a figure
SEPARATES = (
    "No threshold makes both kinds of error: this sample separates perfectly. More people are needed to see "
    "where errors begin."
)
NO_MISSES = "How often known people are missed is not known: that needs people with two photos."


def section(service: RobiService, calibration: Calibration, candidate: float | None) -> None:
    """`candidate` is the handle's place; None where there is no handle."""
    marks = {"in effect": service.tuning.now.threshold}
    if candidate is not None and round(candidate, 3) != round(service.tuning.now.threshold, 3):
        marks["new"] = candidate
    curve, separation = calibration.curve, calibration.figures.separation
    left, right = st.columns(2, gap="medium")
    with left:
        if curve.fnmr and separation:
            _det(calibration, curve.fnmr, separation, marks)
        _verification(calibration, marks)
    with right:
        if curve.fnmr and separation:
            _roc(calibration, curve.fnmr, separation, marks)
        _identification(calibration, marks)
    if not separation:
        st.caption(f"No DET and no ROC: they need both kinds of error. {NO_MISSES}")


def _det(calibration: Calibration, fnmr: Band, separation: Separation, marks: dict[str, float]) -> None:
    fmr, thresholds = calibration.curve.fmr.value, calibration.curve.thresholds
    st.header(
        "DET",
        anchor=False,
        help="Detection error trade-off: misses (FNMR) against false matches (FMR), a point for each "
        "threshold. Axes are probits, on which good systems lie down and to the left as straight lines.",
    )
    if not both_err(fmr, fnmr.value).any():
        with st.container(border=True, height=HEIGHT, vertical_alignment="center"):
            st.markdown(SEPARATES, text_alignment="center")
        return
    st.echarts_chart(
        det(thresholds, fmr, fnmr.value, marks),
        height=HEIGHT,
        key=f"{calibration.source}_det",
        alt=f"Misses against false matches; equal at {rate(separation.eer)}",
    )


def _roc(calibration: Calibration, fnmr: Band, separation: Separation, marks: dict[str, float]) -> None:
    curve, smallest = calibration.curve, calibration.figures.smallest_fmr
    st.header(
        "ROC",
        anchor=False,
        help="Receiver operating characteristic: true matches (1 - FNMR) against false matches, on a "
        "logarithmic axis. The shaded part claims less than this sample can support.",
    )
    st.echarts_chart(
        figures.roc(curve.thresholds, curve.fmr.value, fnmr.value, smallest, marks),
        height=HEIGHT,
        key=f"{calibration.source}_roc",
        alt=f"True matches against false matches; area {separation.auc:.4f}",
    )


def _verification(calibration: Calibration, marks: dict[str, float]) -> None:
    curve = calibration.curve
    st.header(
        "1:1 errors",
        anchor=False,
        help="Verification, one claimed person at a time. FMR: an impostor is accepted. FNMR: the right "
        "person is refused. A line ends where the sample holds no error any more; the shaded part is below "
        "what the sample supports.",
    )
    st.echarts_chart(
        figures.rates(
            curve.thresholds,
            {"FMR": curve.fmr.value, **({"FNMR": curve.fnmr.value} if curve.fnmr else {})},
            marks,
            calibration.figures.smallest_fmr,
        ),
        height=HEIGHT,
        key=f"{calibration.source}_rates",
        alt=f"False match {'and false non-match ' if curve.fnmr else ''}rate against the threshold",
    )


def _identification(calibration: Calibration, marks: dict[str, float]) -> None:
    curve, people = calibration.curve, calibration.scores.people
    st.header(
        "1:N errors",
        anchor=False,
        help="Identification among everybody enrolled. FPIR: a stranger is taken for somebody. FNIR: a known "
        "person is not found first, or not at all. Here the threshold alone counts; the costs on the first "
        "tab count the margin to the second person too. Larger galleries are computed, not measured.",
    )
    larger = [one for one in curve.extrapolated if one.factor > 1]
    which = st.segmented_control(
        "Rate",
        ["FPIR", "FNIR"] if curve.fnir else ["FPIR"],
        default="FPIR",
        required=True,
        key=f"{calibration.source}_which",
        label_visibility="collapsed",
    )
    lines = {f"{people:,} people": curve.fpir.value}
    lines |= {f"{one.people:,} (×{one.factor})": one.fpir for one in larger}
    if which == "FNIR" and curve.fnir:
        lines = {f"{people:,} people": curve.fnir.value}
        lines |= {f"{one.people:,} (×{one.factor})": one.fnir for one in larger if one.fnir is not None}
    st.echarts_chart(
        figures.rates(
            curve.thresholds,
            lines,
            marks,
            calibration.figures.smallest_fpir if which == "FPIR" else 0.0,
        ),
        height=280,
        key=f"{calibration.source}_identification",
        alt=f"{which} against the threshold for this gallery's size, ten and a hundred times as many people",
    )
    with st.popover("How larger galleries are computed", icon=":material/function:", type="tertiary"):
        st.markdown(words.plain(EXTRAPOLATION))
