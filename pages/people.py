"""Find, rename and erase people."""

from __future__ import annotations

import streamlit as st

from core.domain.errors import NotFound
from dashboard.people import erasing, everybody, person
from dashboard.shared import resources, widgets

_VIEW = "people_view"

service = resources.get().service


def show_address(view: str) -> None:
    """Streamlit leaves the browser's address as it was when a link leads to the page that it is on.

    It is sent again, unchanged: what is looked for belongs to its field, and may be set by nobody else.
    """
    if st.session_state.get(_VIEW, view) != view:
        st.query_params.update({})
    st.session_state[_VIEW] = view


wanted = st.query_params.get("person")
show_address(f"person {wanted}" if wanted else "list")
if wanted:
    try:
        chosen = service.people.person(wanted)
    except NotFound:
        widgets.header("Person not found", "Nobody is enrolled under this ID; they may have been erased.")
        everybody.back()
    else:
        person.show(chosen)
else:
    empty = service.people.counts().people == 0
    with widgets.header(
        "People", "Everybody whom Robi can recognise. Open a person to rename or erase them."
    ):
        if not empty and st.button("Enroll a person", type="primary", icon=":material/person_add:"):
            st.switch_page(widgets.page("enroll"))
    if "receipt" in st.query_params:
        erasing.find_receipt(st.query_params["receipt"])
    if empty:
        widgets.nobody_yet("Nobody is enrolled yet.")
    else:
        everybody.show()
