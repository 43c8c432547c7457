"""Measuring on the calibration page: start, progress, cancel, and what the measurement rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import streamlit as st

from core.calibration import export
from core.calibration.job import CalibrationJob
from core.calibration.model import Calibration, Figures, Separation
from core.calibration.people import Study
from core.domain.statistics import Interval
from dashboard.calibration.words import rate
from dashboard.shared import widgets, words

_WATCHED = "calibration_watched"


def button(job: CalibrationJob) -> None:
    """The page's main action; quiet once there is a measurement that still holds."""
    study = job.study()
    fresh = study is not None and not job.stale()
    st.button(
        "Measure again" if study else "Measure",
        type="secondary" if fresh else "primary",
        icon=":material/monitoring:",
        key="calibration_measure",
        disabled=job.progress() is not None,
        help="Compares the enrolled templates with each other, in the background. Nothing is changed.",
        on_click=_start,
        args=(job,),
    )


def _start(job: CalibrationJob) -> None:
    watch()
    widgets.attempt("calibration", job.start)


def watch() -> None:
    """Have `running` tell this session how the run that is about to start ended."""
    st.session_state[_WATCHED] = True


def running(job: CalibrationJob) -> None:
    """Progress and Cancel while something runs; afterwards, for who saw it run, why it came to nothing."""
    widgets.show_problem("calibration")
    if job.progress() is not None:
        watch()
        _progress(job)
        return
    failure = job.failure() if st.session_state.get(_WATCHED) else None
    if failure is not None and failure.code == "cancelled":
        st.info(
            failure.hint or "Start again whenever you like.", title=failure.message, icon=":material/block:"
        )
    elif failure is not None:
        widgets.show_failure(failure)


@st.fragment(run_every=1)
def _progress(job: CalibrationJob) -> None:
    now = job.progress()
    if now is None:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(min(max(now.share, 0.0), 1.0), text=f"{now.doing} … {now.share:.0%}")
        if st.button("Cancel", icon=":material/close:", key="calibration_cancel"):
            job.cancel()


def about(study: Study, *, stale: bool) -> None:
    """What the figures rest on, whether they still hold, and the figures themselves."""
    said = f"Measured {widgets.when(study.made_at)}"
    if study.calibration:
        said += f" · {_basis(study.calibration)}"
    st.html(f'<span class="robi-quiet">{said}</span>')
    if stale:
        st.warning(
            "The figures below are those of the gallery as it was. Measure again to see it as it is now.",
            title="The gallery has changed since",
            icon=":material/update:",
        )
    if study.calibration:
        tiles(study.calibration.figures)


def _basis(calibration: Calibration) -> str:
    scores, figures = calibration.scores, calibration.figures
    templates = words.count(scores.templates, "template")
    if scores.templates < calibration.gallery_templates:
        templates = f"{scores.templates:,} of {calibration.gallery_templates:,} templates"
    impostors = f"{figures.impostors:,}"
    if figures.impostors < scores.impostor_possible:
        impostors += f" of {scores.impostor_possible:,}"
    parts = [
        words.count(scores.people, "person", "people"),
        templates,
        f"{words.count(figures.genuine, 'genuine comparison')}",
        f"{impostors} impostor comparisons",
        f"seed {scores.seed}",
        f"pack {words.escape(calibration.pack)}",
        f"took {calibration.seconds:.1f} s",
    ]
    return " · ".join(parts)


def there(study: Study | None) -> TypeGuard[Study]:
    """Whether anything was measured; says what to do when not."""
    if study is None:
        widgets.empty(
            "Nothing is measured yet. **Measure** compares the enrolled templates with each other; it takes "
            "some seconds, and searches go on meanwhile."
        )
    return study is not None


def figures_of(study: Study | None) -> Calibration | None:
    """The measured figures; None after saying what is missing for them."""
    if not there(study):
        return None
    if study.calibration is None:
        widgets.empty(words.plain(study.missing or "This gallery cannot be measured yet."))
    return study.calibration


def interval(found: Interval) -> str:
    """`0.0031% to 3.3%`; both ends in the same unit, so that they can be compared at a glance."""
    return f"{found.low * 100:.2g}% to {found.high * 100:.2g}%"


def tiles(figures: Figures) -> None:
    """The field's numbers, each with what it means, and how far to trust them in words."""
    with st.grid(5, min_column_width=150):
        if figures.separation:
            _separation(figures.separation)
        _tile(
            "Smallest FMR",
            _smallest(figures.smallest_fmr),
            "supported, 1:1",
            "By the rule of three: without any error in n independent comparisons, the true rate may "
            "still be 3/n. This sample supports nothing below it, and Robi claims nothing there.",
        )
        if not figures.separation:
            _tile(
                "Smallest FPIR",
                _smallest(figures.smallest_fpir),
                "supported, 1:N",
                "The same for searches with strangers, each of whom is compared with everybody.",
            )
    sentences = list(figures.warnings)
    if sentences and figures.separation:
        off = interval(figures.separation.eer_interval)
        sentences.append(f"The true equal error rate can be anywhere from {off}.")
    if sentences:
        st.warning(
            " ".join(words.plain(sentence) for sentence in sentences),
            title="How far to trust these figures",
            icon=":material/straighten:",
        )


def _separation(found: Separation) -> None:
    _tile(
        "Equal error rate",
        rate(found.eer),
        interval(found.eer_interval),
        "EER: where as many impostors are accepted as genuine faces are refused. Lower is better. "
        f"Here that is at the threshold {found.eer_threshold:.3f}. Below: the interval of 95% confidence.",
    )
    _tile(
        "d′",
        f"{found.d_prime:.2f}",
        "distance apart",
        "d-prime: how many standard deviations lie between the means of genuine and impostor "
        "similarities. Above 4 the two hardly overlap.",
    )
    _tile(
        "AUC",
        f"{found.auc:.4f}",
        "1 is perfect",
        "Area under the ROC curve: how often a genuine comparison is more similar than an impostor one.",
    )
    _tile(
        "Rank 1",
        rate(found.rank_one),
        "come first",
        "Share of known faces whose own person is the most similar one, whatever the threshold.",
    )


def _smallest(value: float) -> str:
    return rate(value) if value < 1 else "none"


def exports(calibration: Calibration, *, key: str, more: Mapping[str, Any] | None = None) -> None:
    """Download every figure as JSON, or the curves as CSV. No names and no faces."""
    name = f"robi-calibration-{calibration.made_at:%Y%m%d-%H%M%S}"
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.download_button(
            "JSON",
            lambda: export.to_json(calibration, more),
            f"{name}.json",
            "application/json",
            key=f"{key}_json",
            on_click="ignore",
            icon=":material/download:",
            help="Figures, intervals, curves and how they were made. No names and no faces.",
        )
        st.download_button(
            "CSV",
            lambda: export.to_csv(calibration),
            f"{name}.csv",
            "text/csv",
            key=f"{key}_csv",
            on_click="ignore",
            icon=":material/download:",
            help="The curves: a row for each threshold.",
        )


def _tile(label: str, value: str, below: str, help_: str) -> None:
    """What is `below` must be short: it is cut off where a tile ends."""
    st.metric(
        label,
        value,
        help=help_,
        border=True,
        height="stretch",
        delta=below,
        delta_color="off",
        delta_arrow="off",
    )
