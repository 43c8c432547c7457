"""An evaluation set on the calibration page: uploaded, measured instead of the gallery, and forgotten."""

from __future__ import annotations

from concurrent.futures import Future

import streamlit as st

from core.calibration import export
from core.calibration.archive import REASONS
from core.calibration.job import CalibrationJob
from core.calibration.uploaded import Evaluation, Extreme, Upload
from core.config.settings import Settings
from core.services.service import RobiService
from dashboard.calibration import curves, measure
from dashboard.calibration.words import rate
from dashboard.shared import widgets, words

_SET = "calibration_set"  # the future of what this tab uploaded: it ends with the tab
_ROUND = "calibration_upload_round"  # a new uploader for each round: the last one's files are let go
SHOWN = 20  # files listed by name


def section(service: RobiService, job: CalibrationJob) -> None:
    """Upload, then figures, failures and worst errors: of this tab only."""
    found = _found()
    if found is None:
        _upload(service.settings, job)
        return
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.html(
            f"<b>{words.count(found.calibration.scores.people, 'person', 'people')}, "
            f"{words.count(found.images, 'image')}</b> "
            '<span class="robi-quiet">in memory for this tab only; nothing of the set is kept</span>'
        )
        st.button(
            "Forget this set",
            key="evaluation_forget",
            icon=":material/delete_sweep:",
            on_click=_forget,
        )
    _figures(service, found)


def _found() -> Evaluation | None:
    ending: Future[Evaluation] | None = st.session_state.get(_SET)
    if ending is None or not ending.done() or ending.exception():
        return None
    return ending.result()


def _forget() -> None:
    st.session_state.pop(_SET, None)


def _upload(settings: Settings, job: CalibrationJob) -> None:
    st.markdown(
        "Measure labelled photos instead of the gallery: **one folder a person**, named as you like, with at "
        "least two photos in some of them. Nothing is enrolled, and nothing is kept after this run."
    )
    how = st.segmented_control(
        "Upload",
        ["Zip file", "Folder"],
        default="Zip file",
        required=True,
        key="evaluation_how",
        label_visibility="collapsed",
    )
    round_ = st.session_state.setdefault(_ROUND, 0)
    # Any file may be chosen: a wrong one is refused in words that say what to do.
    if how == "Zip file":
        st.file_uploader(
            "A zip of folders, one a person",
            key=f"evaluation_zip_{round_}",
            accept_multiple_files=True,
            help="Several zips count as one set.",
        )
    else:
        st.file_uploader(
            "A folder of folders, one a person",
            key=f"evaluation_folder_{round_}",
            accept_multiple_files="directory",
            max_upload_size=settings.robi_max_upload_mb,
        )
    key = f"evaluation_{'zip' if how == 'Zip file' else 'folder'}_{round_}"
    st.button(
        "Measure this set",
        key="evaluation_start",
        icon=":material/monitoring:",
        disabled=not st.session_state.get(key) or job.progress() is not None,
        on_click=_start,
        args=(job, key),
    )


def _start(job: CalibrationJob, key: str) -> None:
    files = [Upload(file.name, file.getvalue()) for file in st.session_state[key]]
    measure.watch()
    started = widgets.attempt("calibration", lambda: job.start_evaluation(files))
    if started is not None:
        st.session_state[_SET] = started
        st.session_state[_ROUND] += 1


def _figures(service: RobiService, found: Evaluation) -> None:
    measure.tiles(found.calibration.figures)
    threshold = service.tuning.now.threshold
    more = export.of_evaluation(found, threshold)
    measure.exports(found.calibration, key="evaluation", more=more)
    curves.section(service, found.calibration, None)
    left, right = st.columns(2, gap="medium")
    with left:
        _failures(found)
    with right:
        _skipped(found)
    _worst(found, threshold)


def _failures(found: Evaluation) -> None:
    st.header(
        "Failures to enroll",
        anchor=False,
        help="FTE: the share of images in which no face was found that is good enough to enroll.",
    )
    st.markdown(
        f"**{found.images - found.enrolled:,} of {words.count(found.images, 'image')}** could not be "
        f"enrolled: {rate(found.failure_to_enroll)} ({measure.interval(found.failure_interval)})."
    )
    for reason, count in sorted(found.failures.items(), key=lambda item: -item[1]):
        st.markdown(f"- {words.plain(words.reasons([reason]))}: {count:,}")
    _paths([(one.path, words.reasons([one.reason])) for one in found.failed], "evaluation_failed")


def _skipped(found: Evaluation) -> None:
    st.header("Left out", anchor=False)
    if not found.skipped_files:
        st.markdown("Every file was a picture in a person’s folder.")
        return
    st.markdown(f"**{words.count(found.skipped_files, 'file')}** did not count as pictures of people.")
    left_out = [(one.path, REASONS.get(one.reason, one.reason)) for one in found.skipped]
    _paths(left_out, "evaluation_skipped")


def _paths(lines: list[tuple[str, str]], key: str) -> None:
    """The first files by name, with what was wrong."""
    if lines:
        shown = f"{SHOWN} of {len(lines):,} files" if len(lines) > SHOWN else words.count(len(lines), "file")
        with st.expander(f"Show {shown}", key=key):
            st.markdown(
                "\n".join(f"- {words.plain(path)}: {words.plain(reason)}" for path, reason in lines[:SHOWN])
            )


def _worst(found: Evaluation, threshold: float) -> None:
    st.header("Worst errors", anchor=False)
    errors = found.worst_errors(threshold)
    if not errors:
        st.markdown(
            f"None at the threshold in effect, {threshold:.3f}: every photo that has another of its person "
            "reaches it with that, and no two people reach it."
        )
        return
    st.caption(
        f"At the threshold in effect, {threshold:.3f}: photos of one person that do not reach it, the least "
        "alike first, then those of different people that do, the most alike first."
    )
    with st.grid("auto", min_column_width=240):
        for one in errors:
            _pair(one, threshold)


def _pair(one: Extreme, threshold: float) -> None:
    with st.container(border=True, gap="xsmall"):
        similarity = words.similarity(one.similarity, threshold)
        st.markdown(f"{'Same person' if one.genuine else 'Different people'}, **{similarity}**")
        with st.container(horizontal=True, gap="xsmall"):
            for path, thumbnail in ((one.a_path, one.a_thumbnail), (one.b_path, one.b_thumbnail)):
                st.image(thumbnail, width=104, alt=path)
        st.caption(f"{words.plain(one.a_path)} · {words.plain(one.b_path)}")
