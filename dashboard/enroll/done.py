"""What was saved, and where to go from there."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.domain.faces import Reason
from core.domain.people import EnrollResult
from core.faces.quality import SENTENCES
from core.services.service import RobiService
from dashboard.enroll import enrolling
from dashboard.shared import widgets, words


def show(service: RobiService, result: EnrollResult, start_over: Callable[[], None]) -> None:
    person = enrolling.person(service, result.person.user_id)
    if person is None:  # erased since: nothing may name them any more
        st.info("The person who was saved here has been erased since.")
    else:
        _tell(result, words.plain(person.name))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Enroll another person", type="primary", icon=":material/person_add:", on_click=start_over)
        if person is not None:
            st.page_link(
                widgets.page("people"),
                label=f"Open {words.plain(person.name)}",
                icon=":material/person:",
                query_params={"person": person.user_id},
            )
        st.page_link(
            widgets.page("verify"), label="Try it in Verify", icon=":material/familiar_face_and_zone:"
        )


def _tell(result: EnrollResult, name: str) -> None:
    photos = words.count(len(result.enrolled), "photo")
    what = f"{name} is enrolled" if result.created else f"{name} was given more photos"
    if not result.enrolled:
        st.info("Nothing had to be saved.", title=f"{name} has these photos already", icon=":material/check:")
    elif result.searchable:
        st.success(
            f"{photos} saved. Robi recognises this person from now on.", title=what, icon=":material/check:"
        )
    else:
        late = " and ".join(words.TIER.get(tier, tier) for tier in result.behind)
        st.warning(
            f"{photos} saved, being indexed: {late} will follow by itself.",
            title=what,
            icon=":material/schedule:",
        )
    for rejected in result.rejected:
        why = " ".join(_why(reason) for reason in rejected.reasons)
        st.markdown(f"{words.plain(rejected.photo)} was not saved. {words.plain(why)}")


def _why(reason: str) -> str:
    return SENTENCES[Reason(reason)] if reason in set(Reason) else words.reasons((reason,))
