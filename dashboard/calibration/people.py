"""People worth a look on the calibration page: look-alikes, and templates that fit their person poorly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar

import streamlit as st

from core.calibration import export
from core.calibration.people import ConfusablePair, Study, WeakTemplate
from core.domain.bounds import MARGIN
from core.domain.decisions import reaches
from core.domain.errors import NotFound
from core.domain.people import Pair, Person
from core.services.service import RobiService
from core.services.tuning import PAIR_MARGIN
from dashboard.shared import widgets, words

SHOWN = 5  # of each list, until more are asked for
_ASKED = "calibration_asked"

T = TypeVar("T")
End = tuple[str, int]
"""One of two people: the ID, and the template that resembles the other's most."""


# ---------------------------------------------------------------- look-alikes


def pairs(service: RobiService, study: Study) -> None:
    """The closest different people as they are now: whoever was merged or erased since is left out."""
    st.header("Closest different people", anchor=False)
    st.caption(
        "Twins, siblings, or one person under two names. Merge who is one; for two real people Robi can ask "
        "for a greater lead before it calls either a match."
    )
    kept = {frozenset(pair.user_ids): pair for pair in service.people.pairs()}
    open_ = [pair for pair in study.pairs if frozenset((pair.a_user_id, pair.b_user_id)) not in kept]
    living = ((pair, both) for pair in open_ if (both := _both(service, pair)) is not None)
    found = _shown(living, "calibration_pairs")
    if not found:
        st.markdown("No two different people to compare." if not study.pairs else "All of them are settled.")
    for pair, both in found:
        _show_pair(service, pair, both)
    _more("calibration_pairs", "pairs")
    if kept:
        st.markdown("**Really two people**")
        for confirmed in kept.values():
            _show_confirmed(service, confirmed)


def _shown(living: Iterator[T], key: str) -> list[T]:
    """As many as are asked for; remembers whether there are more, for `_more`."""
    found = list(islice(living, st.session_state.get(key, SHOWN) + 1))
    most = st.session_state.setdefault(key, SHOWN)
    st.session_state[f"{key}_left"] = len(found) > most
    return found[:most]


def _more(key: str, what: str) -> None:
    def more() -> None:
        st.session_state[key] += 2 * SHOWN

    if st.session_state[f"{key}_left"]:
        st.button(f"Show more {what}", key=f"{key}_more", icon=":material/expand_more:", on_click=more)


def _both(service: RobiService, pair: ConfusablePair) -> tuple[Person, Person] | None:
    try:
        return service.people.person(pair.a_user_id), service.people.person(pair.b_user_id)
    except NotFound:
        return None


def _show_pair(service: RobiService, pair: ConfusablePair, both: tuple[Person, Person]) -> None:
    threshold = service.tuning.now.threshold
    above = reaches(pair.similarity, threshold)
    gap = threshold - pair.similarity
    below = f"{gap:.2f} below the threshold" if gap >= 0.005 else "just below the threshold"
    mark = ":red[**!**] at or above the threshold" if above else below
    key = f"{pair.a_user_id}_{pair.b_user_id}"
    ends = ((pair.a_user_id, pair.a_template), (pair.b_user_id, pair.b_template))
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        _faces(service, ends)
        with st.container(gap=None):
            for person in both:
                _link(person)
            st.caption(f"similarity **{words.similarity(pair.similarity, threshold)}** · {mark}")
        with st.container(horizontal=True, width="content"):
            st.button(
                "Merge…",
                key=f"merge_{key}",
                icon=":material/merge:",
                on_click=ask,
                args=("merge", *ends),
            )
            st.button(
                "Really two people",
                key=f"two_{key}",
                icon=":material/group:",
                on_click=ask,
                args=("two", *ends),
            )


def _show_confirmed(service: RobiService, pair: Pair) -> None:
    both = zip(pair.user_ids, pair.names, strict=True)
    names = " and ".join(f"**{words.plain(service.names.called(*one))}**" for one in both)
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        with st.container(gap=None):
            st.markdown(names)
            st.caption(f"a match needs a lead of {pair.margin:.2f} between them")
        if st.button(
            "Forget",
            key=f"forget_{'_'.join(pair.user_ids)}",
            icon=":material/undo:",
            help="The usual margin counts between them again.",
        ):
            service.tuning.forget_pair(*pair.user_ids)
            widgets.flash("Forgotten: the usual margin counts between them again.", below=True)
            st.rerun()


# ---------------------------------------------------------------- weak templates


def weak(service: RobiService, study: Study) -> None:
    """Templates that resemble the others of their person least; a new photo can be asked for."""
    st.header("Weakest templates", anchor=False)
    st.caption(
        "Photos that resemble the person's other photos least. A better one makes misses rarer. "
        "Only people with at least two photos can be judged."
    )
    weakest = {one.user_id: one for one in reversed(study.weak)}  # of each person the weakest one
    ordered = sorted(weakest.values(), key=lambda one: one.own_best)
    living = ((one, person) for one in ordered if (person := _living(service, one.user_id)) is not None)
    found = _shown(living, "calibration_weak")
    if not found:
        st.markdown("Nobody has two photos yet: add a second photo of each person, then measure again.")
    for one, person in found:
        _show_weak(service, one, person)
    _more("calibration_weak", "templates")


def _living(service: RobiService, user_id: str) -> Person | None:
    try:
        return service.people.person(user_id)
    except NotFound:
        return None


def _show_weak(service: RobiService, one: WeakTemplate, person: Person) -> None:
    threshold = service.tuning.now.threshold
    below = not reaches(one.own_best, threshold)
    mark = ":red[**!**] below the threshold: alone it would be missed" if below else "above the threshold"
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        _faces(service, ((one.user_id, one.template_id),))
        with st.container(gap=None):
            _link(person)
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


def _link(person: Person) -> None:
    st.page_link(
        widgets.page("people"),
        label=f"**{words.plain(person.name)}** · {words.plain(person.user_id)}",
        icon=":material/person:",
        query_params={"person": person.user_id},
    )


def _faces(service: RobiService, wanted: tuple[End, ...], *, width: int = 72) -> None:
    """The templates' small pictures, where pictures are kept."""
    if not service.settings.robi_keep_images:
        return
    with st.container(horizontal=True, width="content", gap="xsmall"):
        for user_id, template_id in wanted:
            infos = service.people.templates(user_id)
            found = next((info.thumbnail for info in infos if info.template_id == template_id), None)
            if found:
                st.image(found, width=width, alt="Enrolled photo")


def downloads(service: RobiService, study: Study) -> None:
    """Download both lists by ID."""
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.download_button(
            "JSON of these lists",
            lambda: json.dumps(export.of_study(study, service.people.pairs()), indent=1),
            f"robi-people-{study.made_at:%Y%m%d-%H%M%S}.json",
            "application/json",
            key="calibration_people_json",
            on_click="ignore",
            icon=":material/download:",
            help="By ID, as they were measured. It is about people: keep it among those who may see them.",
        )


# ---------------------------------------------------------------- dialogs


def ask(kind: str, one: End, other: End) -> None:
    """Have `dialog` open with the next drawing of the page."""
    st.session_state[_ASKED] = (kind, one, other)


def _answered() -> None:
    st.session_state.pop(_ASKED, None)


def dialog(service: RobiService) -> None:
    """The question that was asked about two people, if any; it stays until it is answered or closed."""
    if _ASKED not in st.session_state:
        return
    kind, one, other = st.session_state[_ASKED]
    first, second = _living(service, one[0]), _living(service, other[0])
    if first is None or second is None:
        _answered()
        st.toast("One of the two is no longer enrolled.", icon=":material/person_off:")
    elif kind == "merge":
        _merge(service, (first, one[1]), (second, other[1]))
    else:
        _two(service, (first, one[1]), (second, other[1]))


def _side_by_side(service: RobiService, ends: Sequence[tuple[Person, int]]) -> None:
    """The two people of a question, each with the photo that resembles the other's most."""
    for place, (person, template_id) in zip(st.columns(len(ends)), ends, strict=True):
        with place:
            _faces(service, ((person.user_id, template_id),), width=140)
            photos = words.count(person.templates, "photo")
            st.markdown(f"**{words.plain(person.name)}**  \n{words.plain(person.user_id)} · {photos}")


@st.dialog("Make two people one?", icon=":material/merge:", on_dismiss=_answered)
def _merge(service: RobiService, *ends: tuple[Person, int]) -> None:
    _side_by_side(service, ends)
    people = {person.user_id: person for person, _ in ends}
    kept = st.radio(
        "Who is kept, with name and ID",
        list(people),
        key="merge_kept",
        format_func=lambda user_id: f"{words.plain(people[user_id].name)} ({words.plain(user_id)})",
    )
    gone = next(person for person in people.values() if person.user_id != kept)
    st.markdown(
        f"**{words.plain(gone.name)}** ({words.plain(gone.user_id)}) disappears, with whatever was noted of "
        f"them. {words.count(gone.templates, 'photo')} of theirs, and their past events, will be "
        f"**{words.plain(people[kept].name)}**’s. This cannot be undone."
    )
    with st.container(horizontal=True):
        if st.button("Keep both", type="primary", key="merge_not"):
            _answered()
            st.rerun()
        now = st.button("Merge", icon=":material/merge:", key="merge_now")
    if now and (merged := widgets.trying(lambda: service.people.merge(gone.user_id, kept))):
        _answered()
        name = words.plain(merged.name)
        widgets.flash(f"{words.plain(gone.name)} and {name} are one person now, {name}.", below=True)
        st.rerun()


@st.dialog("Really two people?", icon=":material/group:", on_dismiss=_answered)
def _two(service: RobiService, *ends: tuple[Person, int]) -> None:
    _side_by_side(service, ends)
    one, other = (person for person, _ in ends)
    st.markdown(
        f"**{words.plain(one.name)}** and **{words.plain(other.name)}** look alike. A face is then called a "
        "match of either only when it leads the other by the margin below; otherwise it is shown for review."
    )
    margin = st.number_input(
        "Margin between them",
        min_value=float(MARGIN.low),
        max_value=MARGIN.high - 0.01,
        value=min(PAIR_MARGIN * service.tuning.now.margin, MARGIN.high - 0.01),
        step=0.01,
        format="%.2f",
        key="two_margin",
        help=f"The usual margin to the second person is {service.tuning.now.margin:.2f}.",
    )
    with st.container(horizontal=True):
        now = st.button("Remember", type="primary", icon=":material/check:", key="two_now")
        if st.button("Cancel", key="two_not"):
            _answered()
            st.rerun()
    if now and widgets.trying(lambda: _confirm(service, one, other, float(margin))):
        _answered()
        st.rerun()


def _confirm(service: RobiService, one: Person, other: Person, margin: float) -> bool:
    service.tuning.confirm_pair(one.user_id, other.user_id, margin)
    widgets.flash(
        f"{words.plain(one.name)} and {words.plain(other.name)} are remembered as two people: "
        f"a match needs a lead of {margin:.2f} between them.",
        below=True,
    )
    return True
