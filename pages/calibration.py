"""Choose the threshold from evidence: the gallery's own similarities and error rates."""

from __future__ import annotations

import streamlit as st

from dashboard import (
    calibration_curves,
    calibration_map,
    calibration_measure,
    calibration_people,
    calibration_set,
    calibration_threshold,
    resources,
    widgets,
)

shared = resources.get()
service, job = shared.service, shared.calibration


def show_empty() -> None:
    widgets.nobody_yet("Nobody is enrolled yet, so there is nothing to measure.")
    st.header("Or measure photos of your own", anchor=False)
    calibration_set.section(service, job)


def show_threshold() -> None:
    if measured := calibration_measure.figures_of(study):
        shown = calibration_threshold.section(service, measured)
        calibration_threshold.changes(service)
        calibration_measure.exports(measured, key="calibration", more=shown)
    else:
        calibration_threshold.changes(service)


def show_curves() -> None:
    if measured := calibration_measure.figures_of(study):
        calibration_curves.section(service, measured, calibration_threshold.candidate(service))
        calibration_measure.exports(measured, key="calibration")


def show_people() -> None:
    with st.container(key="calibration_people"):
        if calibration_measure.there(study):
            calibration_people.pairs(service, study)
            calibration_people.weak(service, study)
            calibration_people.downloads(service, study)


def show_map() -> None:
    if calibration_measure.there(study):
        calibration_map.section(service, study)


def show_set() -> None:
    calibration_set.section(service, job)


TABS = {
    "Threshold": show_threshold,
    "Error curves": show_curves,
    "People": show_people,
    "Map": show_map,
    "Evaluation set": show_set,
}


def show_tabs() -> None:
    about = st.container()
    tabs = st.tabs(list(TABS), key="calibration_tabs", on_change="rerun")
    for tab, show in zip(tabs, TABS.values(), strict=True):
        if tab.open:
            with tab:
                show()
            if study and show is not show_set:
                with about:
                    calibration_measure.about(study, stale=job.stale())
    if not calibration_threshold.dialog(service):
        calibration_people.dialog(service)


study, empty = job.study(), service.counts().people == 0

with widgets.header(
    "Calibration", "How well this gallery tells people apart, and which threshold follows from it."
):
    if not empty:
        calibration_measure.button(job)

calibration_measure.running(job)
calibration_threshold.overridden(service)

if empty:
    show_empty()
else:
    show_tabs()
