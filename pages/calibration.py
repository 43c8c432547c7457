"""Choose the threshold from evidence: the gallery's own similarities and error rates."""

from __future__ import annotations

import streamlit as st

from dashboard.calibration import (
    curves,
    embedding_map,
    evaluation_set,
    look_alikes,
    measure,
    people,
    threshold,
    weak_templates,
)
from dashboard.shared import resources, widgets

shared = resources.get()
service, job = shared.service, shared.calibration


def show_empty() -> None:
    widgets.nobody_yet("Nobody is enrolled yet, so there is nothing to measure.")
    st.header("Or measure photos of your own", anchor=False)
    evaluation_set.section(service, job)


def show_threshold() -> None:
    if measured := measure.figures_of(study):
        shown = threshold.section(service, measured)
        threshold.changes(service)
        measure.exports(measured, key="calibration", more=shown)
    else:
        threshold.changes(service)


def show_curves() -> None:
    if measured := measure.figures_of(study):
        curves.section(service, measured, threshold.candidate(service))
        measure.exports(measured, key="calibration")


def show_people() -> None:
    with st.container(key="calibration_people"):
        if measure.there(study):
            look_alikes.section(service, study)
            weak_templates.section(service, study)
            people.downloads(service, study)


def show_map() -> None:
    if measure.there(study):
        embedding_map.section(service, study)


def show_set() -> None:
    evaluation_set.section(service, job)


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
                    measure.about(study, stale=job.stale())
    if not threshold.dialog(service):
        look_alikes.dialog(service)


study, empty = job.study(), service.people.counts().people == 0

with widgets.header(
    "Calibration", "How well this gallery tells people apart, and which threshold follows from it."
):
    if not empty:
        measure.button(job)

measure.running(job)
threshold.overridden(service)

if empty:
    show_empty()
else:
    show_tabs()
