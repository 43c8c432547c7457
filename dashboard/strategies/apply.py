"""Putting a measured setting into use, and going back."""

from __future__ import annotations

import streamlit as st

from core.benchmark import labels
from core.benchmark.applying import caveats_of, changes_of
from core.benchmark.model import Measurement, Run, Setting
from core.benchmark.recommendation import quality
from core.services.service import RobiService
from core.services.tuning import MAX_REASON
from dashboard.shared import tunings, widgets, words
from dashboard.strategies import words as say


def differences(service: RobiService, setting: Setting) -> dict[str, tuple[object, object]]:
    """What using a setting changes: from and to, by the name of the tuned value."""
    tuning = service.tuning.now
    wanted = changes_of(setting)
    now = {name: getattr(tuning, name) for name in wanted}
    return {name: (now[name], to) for name, to in wanted.items() if to != now[name]}


@st.dialog("Use this setting?", icon=":material/published_with_changes:")
def ask(service: RobiService, run: Run, row: Measurement) -> None:
    """What changes, and one confirmation."""
    changed = differences(service, row.setting)
    for name, (before, after) in changed.items():
        now, then = (words.plain(tunings.said(name, value)) for value in (before, after))
        st.markdown(f"{tunings.LABEL[name]}: **{now}** → **{then}**")
    for caveat in caveats_of(row.setting, run):
        st.caption(words.plain(caveat))
    st.caption("It holds from the next search on, also after a restart. Settings shows it and takes it back.")
    reason = st.text_input("Reason", value=_reason(run, row), max_chars=MAX_REASON, key="strategies_reason")
    with st.container(horizontal=True):
        if st.button("Use it", type="primary", key="strategies_use_now"):
            step = widgets.trying(
                lambda: service.tuning.tune({n: to for n, (_, to) in changed.items()}, reason)
            )
            if step:
                widgets.flash(f"{words.plain(labels.full(row.setting))} is in use from now on.")
                st.session_state["strategies_step"] = step.id
                st.rerun()
        if st.button("Leave it", key="strategies_use_not"):
            st.rerun()


def undo(service: RobiService) -> None:
    """The way back from what this tab has just put into use, as long as nothing was changed since."""
    step_id = st.session_state.get("strategies_step")
    latest = service.tuning.latest()[:1]
    if step_id is None or not latest or latest[0].id != step_id:
        return

    if st.button("Undo", icon=":material/undo:", key="strategies_undo"):
        undone = widgets.attempt("strategies_undo", lambda: service.tuning.undo(step_id))
        if undone:
            st.session_state.pop("strategies_step", None)
            widgets.flash(f"In effect now: {words.plain(tunings.summary(undone.values))}.")
            st.rerun()
    widgets.show_problem("strategies_undo")


def _reason(run: Run, row: Measurement) -> str:
    found = "recall@1" if row.recall_at_1 else "agreement with the exact search"
    return (
        f"Measured: {found} {say.share(say.value(quality(row)))}, p95 {say.ms(say.value(row.p95))} ms "
        f"with {words.count(run.gallery_templates, 'template')}"
    )
