"""Templates that fit their person poorly, on the calibration page; a better photo can be asked for."""

from __future__ import annotations

import streamlit as st

from core.calibration.people import Study, WeakTemplate
from core.domain.decisions import reaches
from core.domain.people import Person
from core.services.service import RobiService
from dashboard.calibration import people
from dashboard.shared import widgets, words


def section(service: RobiService, study: Study) -> None:
    """Templates that resemble the others of their person least; a new photo can be asked for."""
    st.header("Weakest templates", anchor=False)
    st.caption(
        "Photos that resemble the person's other photos least. A better one makes misses rarer. "
        "Only people with at least two photos can be judged."
    )
    weakest = {one.user_id: one for one in reversed(study.weak)}  # of each person the weakest one
    ordered = sorted(weakest.values(), key=lambda one: one.own_best)
    living = ((one, person) for one in ordered if (person := people.living(service, one.user_id)) is not None)
    found = people.shown(living, "calibration_weak")
    if not found:
        st.markdown("Nobody has two photos yet: add a second photo of each person, then measure again.")
    for one, person in found:
        _show_weak(service, one, person)
    people.more("calibration_weak", "templates")


def _show_weak(service: RobiService, one: WeakTemplate, person: Person) -> None:
    threshold = service.tuning.now.threshold
    below = not reaches(one.own_best, threshold)
    mark = ":red[**!**] below the threshold: alone it would be missed" if below else "above the threshold"
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        people.faces(service, ((one.user_id, one.template_id),))
        with st.container(gap=None):
            people.link(person)
            others = words.count(one.others, "other photo")
            best = words.similarity(one.own_best, threshold)
            st.caption(f"**{best}** at best with {others} · quality {one.quality:.2f} · {mark}")
        if person.photo_asked_at:
            asked_at = widgets.when(person.photo_asked_at)
            st.html(f'<span class="robi-quiet">A new photo was asked for {asked_at}</span>')
        elif st.button("Ask for a new photo", key=f"ask_{one.template_id}", icon=":material/add_a_photo:"):
            asked = widgets.trying(lambda: service.people.ask_for_photo(person.user_id))
            if asked:
                widgets.flash(
                    f"{words.plain(person.name)} is marked on the People page until a photo is added.",
                    below=True,
                )
                st.rerun()
