"""The closest different people on the calibration page: merged, or marked as really two."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.calibration.people import ConfusablePair, Study
from core.domain.bounds import MARGIN
from core.domain.decisions import reaches
from core.domain.people import Pair, Person
from core.services.service import RobiService
from core.services.tuning import PAIR_MARGIN
from dashboard.calibration import people
from dashboard.shared import widgets, words

_ASKED = "calibration_asked"


def section(service: RobiService, study: Study) -> None:
    """The closest different people as they are now: whoever was merged or erased since is left out."""
    st.header("Closest different people", anchor=False)
    st.caption(
        "Twins, siblings, or one person under two names. Merge who is one; for two real people Robi can ask "
        "for a greater lead before it calls either a match."
    )
    kept = {frozenset(pair.user_ids): pair for pair in service.people.pairs()}
    open_ = [pair for pair in study.pairs if frozenset((pair.a_user_id, pair.b_user_id)) not in kept]
    living = ((pair, both) for pair in open_ if (both := _both(service, pair)) is not None)
    found = people.shown(living, "calibration_pairs")
    if not found:
        st.markdown("No two different people to compare." if not study.pairs else "All of them are settled.")
    for pair, both in found:
        _show_pair(service, pair, both)
    people.more("calibration_pairs", "pairs")
    if kept:
        st.markdown("**Really two people**")
        for confirmed in kept.values():
            _show_confirmed(service, confirmed)


def _both(service: RobiService, pair: ConfusablePair) -> tuple[Person, Person] | None:
    one, other = people.living(service, pair.a_user_id), people.living(service, pair.b_user_id)
    return (one, other) if one and other else None


def _show_pair(service: RobiService, pair: ConfusablePair, both: tuple[Person, Person]) -> None:
    threshold = service.tuning.now.threshold
    above = reaches(pair.similarity, threshold)
    gap = threshold - pair.similarity
    below = f"{gap:.2f} below the threshold" if gap >= 0.005 else "just below the threshold"
    mark = ":red[**!**] at or above the threshold" if above else below
    key = f"{pair.a_user_id}_{pair.b_user_id}"
    ends = ((pair.a_user_id, pair.a_template), (pair.b_user_id, pair.b_template))
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        people.faces(service, ends)
        with st.container(gap=None):
            for person in both:
                people.link(person)
            st.caption(f"similarity **{words.similarity(pair.similarity, threshold)}** · {mark}")
        with st.container(horizontal=True, width="content"):
            st.button(
                "Merge…",
                key=f"merge_{key}",
                icon=":material/merge:",
                on_click=_ask,
                args=("merge", *ends),
            )
            st.button(
                "Really two people",
                key=f"two_{key}",
                icon=":material/group:",
                on_click=_ask,
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


# ---------------------------------------------------------------- dialogs


def _ask(kind: str, one: people.End, other: people.End) -> None:
    """Have `dialog` open with the next drawing of the page."""
    st.session_state[_ASKED] = (kind, one, other)


def _answered() -> None:
    st.session_state.pop(_ASKED, None)


def dialog(service: RobiService) -> None:
    """The question that was asked about two people, if any; it stays until it is answered or closed."""
    if _ASKED not in st.session_state:
        return
    kind, one, other = st.session_state[_ASKED]
    first, second = people.living(service, one[0]), people.living(service, other[0])
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
            people.faces(service, ((person.user_id, template_id),), width=140)
            photos = words.count(person.templates, "photo")
            st.markdown(f"**{words.plain(person.name)}**  \n{words.plain(person.user_id)} · {photos}")


@st.dialog("Make two people one?", icon=":material/merge:", on_dismiss=_answered)
def _merge(service: RobiService, *ends: tuple[Person, int]) -> None:
    _side_by_side(service, ends)
    by_id = {person.user_id: person for person, _ in ends}
    kept = st.radio(
        "Who is kept, with name and ID",
        list(by_id),
        key="merge_kept",
        format_func=lambda user_id: f"{words.plain(by_id[user_id].name)} ({words.plain(user_id)})",
    )
    gone = next(person for person in by_id.values() if person.user_id != kept)
    st.markdown(
        f"**{words.plain(gone.name)}** ({words.plain(gone.user_id)}) disappears, with whatever was noted of "
        f"them. {words.count(gone.templates, 'photo')} of theirs, and their past events, will be "
        f"**{words.plain(by_id[kept].name)}**’s. This cannot be undone."
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
