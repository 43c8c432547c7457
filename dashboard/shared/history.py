"""Events as an operator reads them: one sentence, a shape, and the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import streamlit as st

from core.domain.events import Event
from core.domain.search import Decision
from dashboard.shared import resources, tunings, widgets, words

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "verified": "Checks",
        "enrolled": "Enrollments",
        "photos_added": "Photos added",
        "renamed": "Renamings",
        "merged": "Mergers",
        "erased": "Erasures",
        "photo_asked": "Photo requests",
        "tuned": "Tuning",
    }
)
_VIA: Mapping[str, str] = MappingProxyType(
    {
        "webcam": "camera",
        "upload": "upload",
        "api": "API",
        "demo": "demo gallery",
    }
)
_PHOTO: Mapping[str, str] = MappingProxyType({"photo": "photo on screen", "api": "photo by API"})


@dataclass(frozen=True, slots=True)
class Told:
    """An event as a row: its colour and sign, and what is said."""

    meaning: str  # names the colour: match, review or unknown
    shape: str
    said: str  # HTML
    who: bool = True  # the name of the person comes first


def show(events: Iterable[Event]) -> None:
    """List events, each with the person's name at that time and, where it differs, the present one.

    Erased people have no name.
    """
    listed = list(events)
    service = resources.get().service
    shared = service.names.shared({event.user_id_now for event in listed if event.user_id_now})
    with st.container(key="history", gap=None):
        for event in listed:
            _show(event, tell(event), event.user_id_now in shared)


def _show(event: Event, told: Told, namesakes: bool) -> None:
    """The person is an `st.page_link`: an HTML link would make the browser load the whole application."""
    link = _link(event, namesakes) if told.who else None
    said = told.said if link or not told.who else f"<b>{_nobody(event)}</b> {told.said}"
    time = f"<span>{widgets.when(event.at)}</span>"
    shape = f'<span class="robi-shape robi-{told.meaning}" aria-hidden="true">{told.shape}</span>'
    with st.container(horizontal=True, vertical_alignment="center", gap=None):
        if link is None:
            st.html(f'<div class="robi-event">{shape}<span>{said}</span>{time}</div>')
            return
        st.html(shape, width="content")
        label, query = link
        st.page_link(widgets.page("people"), label=label, query_params=query)
        st.html(f'<div class="robi-event"><span>{_now(event)}{said}</span>{time}</div>')


def _link(event: Event, namesakes: bool) -> tuple[str, Mapping[str, str]] | None:
    """Label and address: of the person, under the name at that time, or of an erased one's receipt."""
    if event.kind == "erased":
        return f"The person with ID **{words.plain(event.user_id or '')}**", {"receipt": str(event.id)}
    if event.name is None or event.user_id_now is None:
        return None
    which = f" ({words.plain(event.user_id_now)})" if namesakes else ""  # who shares a name is told by the ID
    return f"**{words.plain(event.name_then or event.name)}**{which}", {"person": event.user_id_now}


def _nobody(event: Event) -> str:
    """What stands in place of an erased person's name."""
    return f"Somebody erased since ({words.escape(event.user_id)})" if event.user_id else "Somebody"


def _now(event: Event) -> str:
    """The present name as HTML; empty where it is the one of that time."""
    if event.name in (None, event.name_then):
        return ""
    return f'<span class="robi-quiet">now {words.escape(event.name)} ·</span> '


def tell(event: Event) -> Told:
    """What happened, in words."""
    detail = event.detail
    photos = words.count(int(detail.get("templates", 0)), "photo")
    via = _VIA.get(str(detail.get("via")), "")
    if event.kind == "verified":
        return _tell_check(event)
    if event.kind in ("enrolled", "photos_added"):
        new = event.kind == "enrolled" and detail.get("created", True)
        verb = "was enrolled" if new else "got more photos"
        return Told("match", "+", f"{verb} {_quiet(photos, via)}")
    if event.kind == "renamed":
        before = detail.get("from_name")
        was = f"; the name was <b>{words.escape(before)}</b>" if before else ""
        return Told("unknown", "·", f"was renamed{was}")
    if event.kind == "erased":
        return Told("unknown", "×", f"was erased {_quiet(photos)}")
    if event.kind == "merged":
        other = detail.get("from_name")
        also = f", also as <b>{words.escape(other)}</b>" if other else ""
        return Told(
            "match", "+", f"was enrolled twice{also}; the two are one now {_quiet(f'{photos} added')}"
        )
    if event.kind == "photo_asked":
        return Told("review", "?", "needs a better photo")
    if event.kind == "tuned":
        return Told("unknown", "·", _tell_tuning(detail), who=False)
    return Told("unknown", "·", words.escape(event.kind), who=False)


def _quiet(*parts: str) -> str:
    return f'<span class="robi-quiet">{" · ".join(part for part in parts if part)}</span>'


def _tell_tuning(detail: Mapping[str, Any]) -> str:
    steps = (
        f"{tunings.LABEL.get(name, name)} {tunings.said(name, old)} → <b>{tunings.said(name, new)}</b>"
        for name, (old, new) in detail.get("changed", {}).items()
    )
    reason = words.escape(str(detail.get("reason", "")))
    return f'Tuned: {", ".join(steps)} <span class="robi-quiet">{reason}</span>'


def _tell_check(event: Event) -> Told:
    detail = event.detail
    decision = Decision(detail.get("decision", Decision.UNKNOWN))
    number = words.similarity(detail.get("similarity"), _threshold(detail))
    said = {
        Decision.MATCH: "was recognised",
        Decision.REVIEW: "may have been seen: please check",
        Decision.UNKNOWN: "A face was not recognised",
    }[decision]
    known, why = decision is not Decision.UNKNOWN, ""
    if decision is Decision.REVIEW:
        why = words.reasons(detail.get("held_back_by", ()))
    quiet = _quiet(number if number != "–" else "", *_where(detail), why)
    return Told(decision.value, words.SHAPE[decision], f"{said} {quiet}", who=known)


def _threshold(detail: Mapping[str, Any]) -> float | None:
    """The threshold that decided, where it is on record."""
    decided_by: Mapping[str, Any] = detail.get("decided_by", detail)
    return decided_by.get("threshold")


def _where(detail: Mapping[str, Any]) -> tuple[str, ...]:
    """Where the picture came from; older events do not tell a photo on the screen from the API's."""
    mode = str(detail.get("mode"))
    if mode == "live":
        return ("live",)
    photo = _PHOTO.get(str(detail.get("via")), "photo or API")
    return {"1:1": ("one to one", photo), "1:N": (photo,)}.get(mode, ())
