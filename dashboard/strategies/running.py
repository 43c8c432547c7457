"""A comparison that runs in the background: how far it is, and how it ended."""

from __future__ import annotations

import streamlit as st

from core.benchmark.benchmarks import Benchmarks
from core.benchmark.model import Outcome, Run
from dashboard.shared import widgets, words
from dashboard.strategies import words as say

SHOWN = "strategies_shown"  # the run on the screen
WATCHED = "strategies_watched"  # this tab has seen the present run, and says how it ends


def progress(benchmarks: Benchmarks) -> None:
    """A card that refreshes itself, with Cancel; the page is drawn anew when the run has ended."""
    st.session_state[WATCHED] = True

    @st.fragment(run_every=1)
    def card() -> None:
        now = benchmarks.progress()
        if now is None:
            st.rerun()
            return
        with st.container(border=True):
            left = f" About {say.seconds(now.eta_s)} left." if now.eta_s is not None else ""
            st.progress(min(max(now.share, 0.0), 1.0), text=f"{words.plain(now.doing)}{left}")
            with st.container(
                horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
            ):
                st.caption(
                    "Robi goes on working meanwhile, and this goes on if you leave the page.", width="stretch"
                )
                st.button(
                    "Cancel", icon=":material/close:", key="strategies_cancel", on_click=benchmarks.cancel
                )

    card()


def ending(outcome: Outcome | None) -> None:
    """Say once how the run ended that this tab has watched, and show what it found."""
    if outcome is None or not st.session_state.pop(WATCHED, False):
        return
    if outcome.run is not None:
        st.session_state[SHOWN] = outcome.run
    _say(outcome)


def _say(outcome: Outcome) -> None:
    if outcome.cancelled:
        st.info("The comparison was cancelled. Nothing of it was kept.", icon=":material/close:")
    elif outcome.error is not None:
        widgets.show_failure(outcome.error)
    elif outcome.run is not None and not _answered(outcome.run):
        st.warning(
            "No search was answered, so there is nothing to draw. The table below says why; "
            "Monitoring shows what is not well.",
            title="All searches failed",
        )
    elif outcome.run is not None and not outcome.run.complete:
        st.warning(
            f"What was complete by then is kept: {words.count(len(outcome.run.rows), 'measurement')}.",
            title="The time limit ended the comparison",
        )
    elif outcome.run is not None:
        took = say.seconds(outcome.run.duration_s)
        st.success(f"The comparison took {took} and is kept.", icon=":material/check:")


def _answered(run: Run) -> bool:
    return any(row.n for row in run.rows)
