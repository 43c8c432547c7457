"""The calibration page's threshold: chosen by target or by hand, previewed, applied with a reason."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from core.calibration import export
from core.calibration.model import Band, Calibration
from core.calibration.preview import Decided, Preview, preview, recent_decisions
from core.config.tuning import differing, tuned
from core.domain.errors import RobiError
from core.domain.statistics import Interval
from core.services.service import RobiService
from core.services.tuning import MAX_REASON
from dashboard.calibration import charts as figures
from dashboard.calibration import target
from dashboard.calibration.measure import interval
from dashboard.calibration.words import rate
from dashboard.shared import tunings, widgets, words

READ_EVERY_S = 60.0
CANDIDATE = "calibration_candidate"
_APPLYING = "calibration_applying"
_RECENT = "calibration_recent"


def overridden(service: RobiService) -> None:
    """Says when the threshold of the environment is not the one in effect."""
    values = differing(service.tuning.now, service.settings)
    if "threshold" in values:
        st.info(
            f"FACE\\_THRESHOLD says {service.settings.face_threshold:.3f}. What was tuned here counts, also "
            "after a restart, until it is undone on the Threshold tab.",
            title=f"The threshold in effect, {service.tuning.now.threshold:.3f}, was tuned",
            icon=":material/tune:",
        )


def section(service: RobiService, calibration: Calibration) -> dict[str, Any]:
    """Distributions with the threshold as a handle, the target, what it costs, and Apply.

    Returns what an export should hold of it: the choice and the preview.
    """
    span = _span(calibration)
    at = st.session_state[CANDIDATE] = min(max(candidate(service), span[0]), span[1])
    st.header("How alike faces are", anchor=False)
    st.echarts_chart(
        figures.similarities(calibration.histogram, service.tuning.now.threshold, at, span),
        height=300,
        key="calibration_similarities",
        alt=(
            f"Similarities of {'the same person and of ' if calibration.scores.has_genuine else ''}"
            f"different people, with the threshold in effect at {service.tuning.now.threshold:.3f}"
        ),
    )
    st.slider(
        "New threshold",
        span[0],
        span[1],
        step=0.001,
        format="%.3f",
        key=CANDIDATE,
        persist_state="page",
        help="Move it along the chart above. Nothing changes until you apply it.",
    )
    left, right = st.columns([2, 3], gap="medium")
    with left:
        choice = target.block(calibration, service.people.counts().people, at, _move)
    with right:
        _costs(service, calibration, at)
        tried = _apply(service, at)
    shown = export.of_choice(choice) if choice else {}
    return shown | (export.of_preview(tried) if tried else {})


def _span(calibration: Calibration) -> tuple[float, float]:
    edges, counts = (
        calibration.histogram.edges,
        calibration.histogram.genuine + calibration.histogram.impostor,
    )
    lowest = float(edges[int(counts.nonzero()[0][0])]) if counts.any() else 0.0
    return math.floor(min(lowest, 0.0) * 10) / 10, 1.0


def candidate(service: RobiService) -> float:
    """Where the handle is: at the threshold in effect until somebody moves it."""
    return round(float(st.session_state.get(CANDIDATE, service.tuning.now.threshold)), 3)


def _move(at: float) -> None:
    st.session_state[CANDIDATE] = at


# ---------------------------------------------------------------- what it costs


def _costs(service: RobiService, calibration: Calibration, new: float) -> None:
    st.header("What it costs", anchor=False)
    curve, now = calibration.curve, service.tuning.now.threshold
    rows = (
        ("FMR", "1:1: an impostor is taken for the person claimed", curve.fmr),
        ("FNMR", "1:1: the right person is refused", curve.fnmr),
        ("FPIR", "1:N: a stranger is called a match, at this gallery’s size", curve.fpir_decided),
        ("FNIR", "1:N: a known person is not called a match", curve.fnir_decided),
    )
    columns = {"in effect": now, **({} if _same(new, now) else {"new": new})}
    head = "".join(f'<th scope="col">{name} {at:.3f}</th>' for name, at in columns.items())
    body = "".join(
        f'<tr><th scope="row">{name}<br><span class="robi-quiet">{words.escape(meaning)}</span></th>'
        + "".join(f"<td>{_at(calibration, band, at)}</td>" for at in columns.values())
        + "</tr>"
        for name, meaning, band in rows
    )
    st.html(f'<table class="robi-table"><tr><td></td>{head}</tr>{body}</table>')
    st.caption("Shares of comparisons or probes, below each its interval of 95% confidence.")


def _same(one: float, other: float) -> bool:
    return round(one, 3) == round(other, 3)


def _at(calibration: Calibration, band: Band | None, threshold: float) -> str:
    if band is None:
        return '<b>not known</b><br><span class="robi-quiet">needs people with two photos</span>'
    thresholds = calibration.curve.thresholds
    index = min(int(np.searchsorted(thresholds, threshold - 1e-9)), len(thresholds) - 1)
    around = interval(Interval(float(band.low[index]), float(band.high[index])))
    return f'<b>{rate(float(band.value[index]))}</b><br><span class="robi-quiet">{around}</span>'


def _apply(service: RobiService, new: float) -> Preview | None:
    if _same(new, service.tuning.now.threshold):
        st.caption("The handle is at the threshold in effect. Move it, or set a target, to see what changes.")
        return None
    rule = service.store.rule()
    tried = preview(_recent(service), replace(rule, threshold=new), rule.margin, service.people.pairs())
    st.markdown(_changes(tried))
    problem = _refused(service, new)
    if problem:
        st.warning(problem.hint, title=problem.message)
    with st.container(horizontal=True):
        st.button(
            f"Apply {new:.3f}…",
            type="primary",
            icon=":material/check:",
            key="threshold_apply",
            disabled=problem is not None,
            on_click=_ask,
        )
        st.button(
            "Back to what is in effect",
            key="threshold_back",
            on_click=_move,
            args=(round(service.tuning.now.threshold, 3),),
        )
    return tried


def _refused(service: RobiService, new: float) -> RobiError | None:
    try:
        tuned(service.tuning.now, {"threshold": new})
    except RobiError as problem:
        return problem
    return None


def _changes(found: Preview) -> str:
    """What the decisions on record would have been, and of how many nobody can know."""
    apart = ""
    if found.own_threshold:
        apart = (
            f" {words.count(found.own_threshold, 'more check')} had a threshold of the request’s own, "
            "which this one does not change."
        )
    if not found.decisions:
        return f"No decision of the last {found.days} days is on record to try it on.{apart}"
    said = f"**{words.count(found.changes, 'decision')}** of the last {found.days} days would change"
    flips = ", ".join(
        f"{flip.count:,} from {words.VERDICT[flip.was]} to {words.VERDICT[flip.becomes]}"
        for flip in found.changed
    )
    said += f": {flips}." if flips else "."
    said += f" {found.unchanged:,} would not."
    if found.unknown:
        said += (
            f" Of {found.unknown:,} it cannot be known: they hang on who came second and how "
            "similar, which was not recorded."
        )
    if found.truncated:
        said += f" Only the latest {found.decisions + found.own_threshold:,} were looked at."
    return said + apart


def _recent(service: RobiService) -> Decided:
    """The decisions on record, read once a minute: the handle is moved more often than that."""
    read: tuple[float, Decided] | None = st.session_state.get(_RECENT)
    if read is None or time.monotonic() - read[0] > READ_EVERY_S:
        service.events.listing(limit=1)  # writes what was decided a moment ago
        with st.spinner("Reading the latest decisions …"):
            read = st.session_state[_RECENT] = (time.monotonic(), recent_decisions(service.ledger))
    return read[1]


# ---------------------------------------------------------------- applying


def _ask() -> None:
    st.session_state[_APPLYING] = True


def _answered() -> None:
    st.session_state.pop(_APPLYING, None)


def dialog(service: RobiService) -> bool:
    """Ask for the reason when Apply was pressed; whether it did."""
    if not st.session_state.get(_APPLYING) or CANDIDATE not in st.session_state:
        _answered()
        return False
    _confirm(service, float(st.session_state[CANDIDATE]))
    return True


@st.dialog("Change the threshold?", icon=":material/tune:", on_dismiss=_answered)
def _confirm(service: RobiService, new: float) -> None:
    now = service.tuning.now.threshold
    st.markdown(
        f"From **{now:.3f}** to **{new:.3f}**, for every search from now on, live cameras too. "
        "It is kept over a restart and can be undone."
    )
    reason = st.text_area(
        "Reason",
        key="threshold_reason",
        height=90,  # and no limit here: a longer text that is pasted would be dropped without a word
        placeholder="One false match in 10,000 at the gate",
        help=f"Required, up to {MAX_REASON} characters. It is kept with the change, for whoever asks why.",
    )
    with st.container(horizontal=True):
        confirmed = st.button("Apply", type="primary", icon=":material/check:", key="threshold_apply_now")
        if st.button("Leave it", key="threshold_apply_not"):
            _answered()
            st.rerun()
    if confirmed and (_step := widgets.trying(lambda: service.tuning.tune({"threshold": new}, reason or ""))):
        _answered()
        widgets.flash(f"The threshold is {new:.3f} now; it was {now:.3f}.")
        st.rerun()


def changes(service: RobiService) -> None:
    """Past changes, each with its reason and Undo."""
    st.header("Changes", anchor=False)
    tunings.show_changes(service, key="calibration_undo")
