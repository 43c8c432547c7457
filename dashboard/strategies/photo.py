"""One photo through the three strategies at once."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from core.benchmark import export
from core.benchmark.model import Traced, TracedSearch
from core.benchmark.stage_trace import trace
from core.domain.faces import Analysis, Purpose
from core.domain.search import Strategy
from core.services.service import RobiService
from dashboard.shared import pictures, verdicts, widgets, words
from dashboard.strategies import charts as figures


def show(service: RobiService) -> None:
    """The candidates of each strategy side by side, and when each of its stages ran."""
    photo = pictures.one_photo("strategies", service.settings)
    if photo is None:
        st.caption("The largest face of the photo is searched for with each strategy. Nothing is recorded.")
        return
    traced = _traced(service, photo)
    if traced is None:
        return
    for column, (strategy, search) in zip(st.columns(3), traced.searches.items(), strict=True):
        with column.container(border=True, height="stretch"):
            _answer(service, strategy, search)
    _timeline(traced)
    st.download_button(
        "JSON",
        data=lambda: export.traced_to_json(traced),
        file_name="robi-one-photo.json",
        mime="application/json",
        on_click="ignore",
        icon=":material/download:",
        key="strategies_export_photo",
        help="Times and similarities. No names and no faces.",
    )


def _traced(service: RobiService, photo: pictures.Photo) -> Traced | None:
    """The photo is analysed and searched for once, unless somebody who was found is gone since."""
    known: tuple[str, Traced] | None = st.session_state.get("strategies_traced")
    if known and known[0] == photo.id and (kept := _as_now(service, known[1])):
        st.session_state["strategies_traced"] = (photo.id, kept)
        return kept
    analysis = widgets.trying(
        lambda: service.pictures.analyze(service.pictures.decode(photo.data), Purpose.VERIFY)
    )
    if analysis is None:
        return None
    if not analysis.faces:
        st.warning("Show the whole face, facing the camera.", title="No face was found in the photo.")
        return None
    found = widgets.trying(lambda: _trace(service, analysis))
    if found:
        st.session_state["strategies_traced"] = (photo.id, found)
    return found


def _as_now(service: RobiService, kept: Traced) -> Traced | None:
    """With the names of now; None when somebody in it is gone, or nobody can say."""
    answered = {how: search.result for how, search in kept.searches.items() if search.result is not None}
    named = widgets.trying(lambda: service.matching.as_named_now(list(answered.values())))
    if named is None:
        return None
    now = dict(zip(answered, named, strict=True))
    searches = {how: replace(search, result=now.get(how)) for how, search in kept.searches.items()}
    return replace(kept, searches=searches)


def _trace(service: RobiService, analysis: Analysis) -> Traced:
    return trace(
        service, analysis.faces[0].embedding, detect_ms=analysis.detect_ms, embed_ms=analysis.embed_ms
    )


def _answer(service: RobiService, strategy: Strategy, search: TracedSearch) -> None:
    st.markdown(f"**{words.STRATEGY[strategy]}** · {words.milliseconds(search.total_ms)}")
    if search.result is not None:
        verdicts.face(service.names.told_apart(search.result), nearest=True)
    elif search.error is not None:
        widgets.show_failure(search.error)


def _timeline(traced: Traced) -> None:
    st.header("When each stage ran", anchor=False)
    part = st.segmented_control(
        "Stages",
        ["From the photo", "The search only"],
        default="From the photo",
        required=True,
        key="strategies_part",
        label_visibility="collapsed",
    )
    rows = sum(len(search.spans) for search in traced.searches.values())
    st.echarts_chart(
        figures.timeline(traced, only_search=part == "The search only"),
        height=110 + 21 * rows,
        key="strategies_timeline",
        alt=_alt(traced),
    )
    st.caption(
        "Finding the face is done once, for all three. Bars that stand above each other ran at the same time."
    )


def _alt(traced: Traced) -> str:
    told = "; ".join(
        f"{words.STRATEGY[strategy]}: "
        + ", ".join(f"{span.stage} {words.milliseconds(span.duration_ms)}" for span in search.spans)
        for strategy, search in traced.searches.items()
    )
    return f"Stages of one photo on a timeline. {told}"
