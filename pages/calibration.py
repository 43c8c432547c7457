"""Choose the threshold from evidence: the gallery's own similarities and error rates."""

from __future__ import annotations

from typing import Any

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
study, empty = job.study(), service.counts().people == 0

with widgets.header(
    "Calibration", "How well this gallery tells people apart, and which threshold follows from it."
):
    if not empty:
        calibration_measure.button(job)

calibration_measure.running(job)
calibration_threshold.overridden(service)

if empty:
    with widgets.empty("Nobody is enrolled yet, so there is nothing to measure."):
        if st.button("Enroll the first person", type="primary", icon=":material/person_add:"):
            st.switch_page(widgets.page("enroll"))
    st.subheader("Or measure photos of your own", anchor=False)
    calibration_set.section(service, job)
    st.stop()

shown: dict[str, Any] = {}
about = st.container()  # the tabs below decide whether it is of interest
tabs = st.tabs(
    ["Threshold", "Error curves", "People", "Map", "Evaluation set"],
    key="calibration_tabs",
    on_change="rerun",
)
threshold_tab, curves_tab, people_tab, map_tab, set_tab = tabs
if threshold_tab.open:
    with threshold_tab:
        if measured := calibration_measure.figures_of(study):
            shown = calibration_threshold.section(service, measured)
        calibration_threshold.changes(service)
if curves_tab.open:
    with curves_tab:
        if measured := calibration_measure.figures_of(study):
            calibration_curves.section(service, measured, calibration_threshold.candidate(service))
if people_tab.open:
    with people_tab, st.container(key="calibration_people"):
        if calibration_measure.there(study):
            calibration_people.pairs(service, study)
            calibration_people.weak(service, study)
            calibration_people.export(study)
if map_tab.open:
    with map_tab:
        if calibration_measure.there(study):
            calibration_map.section(service, study)
if set_tab.open:
    with set_tab:
        calibration_set.section(service, job)
elif study:
    with about:
        calibration_measure.about(study, stale=job.stale())

if study and study.calibration and (threshold_tab.open or curves_tab.open):
    calibration_measure.exports(study.calibration, key="calibration", more=shown)
if not calibration_threshold.dialog(service):
    calibration_people.dialog(service)
