"""Error curves on the calibration page: DET, ROC, and error rates against the threshold, 1:1 and 1:N."""

from __future__ import annotations

import streamlit as st

from core.calibration.model import EXTRAPOLATION, Calibration
from core.service import RobiService
from dashboard import words
from dashboard.charts import calibration as figures
from dashboard.charts.calibration import rate


def section(service: RobiService, calibration: Calibration, candidate: float | None) -> None:
    """`candidate` is the handle's place; None where there is no handle."""
    marks = {"in effect": service.tuning.threshold}
    if candidate is not None and round(candidate, 3) != round(service.tuning.threshold, 3):
        marks["new"] = candidate
    left, right = st.columns(2, gap="medium")
    with left:
        _det(calibration, marks)
        _verification(calibration, marks)
    with right:
        _roc(calibration, marks)
        _identification(calibration, marks)


def _det(calibration: Calibration, marks: dict[str, float]) -> None:
    curve = calibration.curve
    st.subheader(
        "DET",
        anchor=False,
        help="Detection error trade-off: misses (FNMR) against false matches (FMR), a point for each "
        "threshold. Axes are probits, on which good systems lie down and to the left as straight lines.",
    )
    st.echarts_chart(
        figures.det(curve.thresholds, curve.fmr.value, curve.fnmr.value, marks),
        height=320,
        key=f"{calibration.source}_det",
        alt=f"Misses against false matches; equal at {rate(calibration.figures.eer)}",
    )


def _roc(calibration: Calibration, marks: dict[str, float]) -> None:
    curve, smallest = calibration.curve, calibration.figures.smallest_fmr
    st.subheader(
        "ROC",
        anchor=False,
        help="Receiver operating characteristic: true matches (1 - FNMR) against false matches, on a "
        "logarithmic axis. The shaded part claims less than this sample can support.",
    )
    st.echarts_chart(
        figures.roc(curve.thresholds, curve.fmr.value, curve.fnmr.value, smallest, marks),
        height=320,
        key=f"{calibration.source}_roc",
        alt=f"True matches against false matches; area {calibration.figures.auc:.4f}",
    )


def _verification(calibration: Calibration, marks: dict[str, float]) -> None:
    curve = calibration.curve
    st.subheader(
        "1:1 errors",
        anchor=False,
        help="Verification, one claimed person at a time. FMR: an impostor is accepted. FNMR: the right "
        "person is refused. A line ends where the sample holds no error any more; the shaded part is below "
        "what the sample supports.",
    )
    st.echarts_chart(
        figures.rates(
            curve.thresholds,
            {"FMR": curve.fmr.value, "FNMR": curve.fnmr.value},
            marks,
            calibration.figures.smallest_fmr,
        ),
        height=320,
        key=f"{calibration.source}_rates",
        alt="False match and false non-match rate against the threshold",
    )


def _identification(calibration: Calibration, marks: dict[str, float]) -> None:
    curve, people = calibration.curve, calibration.scores.people
    st.subheader(
        "1:N errors",
        anchor=False,
        help="Identification among everybody enrolled. FPIR: a stranger is taken for somebody. FNIR: a known "
        "person is not found first, or not at all. Here the threshold alone counts; the costs on the first "
        "tab count the margin to the second person too. Larger galleries are computed, not measured.",
    )
    larger = [one for one in curve.extrapolated if one.factor > 1]
    which = st.segmented_control(
        "Rate",
        ["FPIR", "FNIR"],
        default="FPIR",
        required=True,
        key=f"{calibration.source}_which",
        label_visibility="collapsed",
    )
    own, found = (curve.fpir, "fpir") if which == "FPIR" else (curve.fnir, "fnir")
    st.echarts_chart(
        figures.rates(
            curve.thresholds,
            {
                f"{people:,} people": own.value,
                **{f"{one.people:,} (×{one.factor})": getattr(one, found) for one in larger},
            },
            marks,
            calibration.figures.smallest_fpir if which == "FPIR" else 0.0,
        ),
        height=280,
        key=f"{calibration.source}_identification",
        alt=f"{which} against the threshold for this gallery's size, ten and a hundred times as many people",
    )
    with st.popover("How larger galleries are computed", icon=":material/function:", type="tertiary"):
        st.markdown(words.plain(EXTRAPOLATION))
