"""What happened, newest first."""

from __future__ import annotations

import streamlit as st

from dashboard.shared import history, resources, widgets, words

PER_PAGE = 25

service = resources.get().service
trail: list[str | None] = st.session_state.setdefault("events_trail", [None])  # cursors of the pages so far


def from_the_start() -> None:
    st.session_state["events_trail"] = [None]


with widgets.header("Events", "What happened and is kept on record, newest first."):
    if st.button("Refresh", icon=":material/refresh:"):
        from_the_start()
        st.rerun()

kind = st.segmented_control(
    "Show",
    ["all", *history.KINDS],
    default="all",
    required=True,
    key="events_kind",
    format_func=lambda k: history.KINDS.get(k, "Everything"),
    on_change=from_the_start,
    label_visibility="collapsed",
)
found = service.events.listing(limit=PER_PAGE, cursor=trail[-1], kind=None if kind == "all" else kind)
if found.items:
    with st.container(border=True):
        history.show(found.items)
    widgets.pager("events_trail", found, words.count(found.total, "event"), PER_PAGE)
elif service.events.listing(limit=1).items:
    st.markdown("No event of this kind yet.")
else:
    widgets.nobody_yet("Nothing has happened yet. Enrollments, checks and erasures will be listed here.")
