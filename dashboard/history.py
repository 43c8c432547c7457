"""Events as an operator reads them: one sentence, a shape, and the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from core.types import Decision, Event
from dashboard import tunings, widgets, words

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


_MERGED = '<b>{}</b> was enrolled twice; the two are one now <span class="robi-quiet">{} added</span>'


def show(events: Iterable[Event]) -> None:
    """List events with the person's present name; who was erased has none any more."""
    widgets.rows([(*_tell(event, _name(event)), widgets.when(event.at)) for event in events])


def _name(event: Event) -> str | None:
    """HTML of the person, linked to their page; None when they are not enrolled (any more)."""
    if event.user_id is None or event.name is None:
        return None
    link = f"/people?person={words.escape(event.user_id)}"
    return f'<a href="{link}" target="_self">{words.escape(event.name)}</a>'


def _tell(event: Event, who: str | None) -> tuple[str, str, str]:
    detail = event.detail
    erased = f"Somebody erased since ({words.escape(event.user_id)})" if event.user_id else "Somebody"
    if event.kind == "verified":
        return _tell_check(event, who or erased)
    if event.kind in ("enrolled", "photos_added"):
        photos = words.count(int(detail.get("templates", 0)), "photo")
        began = event.kind == "enrolled" and detail.get("created", True)
        verb = "was enrolled" if began else "got more photos"
        alike = ", ".join(words.similarity(value) for value in detail.get("similarities", ()))
        via = _VIA.get(str(detail.get("via")), "")
        quiet = " · ".join(part for part in (photos, via, f"similarity {alike}" if alike else "") if part)
        return "match", "+", f'<b>{who or erased}</b> {verb} <span class="robi-quiet">{quiet}</span>'
    if event.kind == "renamed":
        return "unknown", "·", f"A person was renamed and is now <b>{who or erased}</b>"
    if event.kind == "erased":
        photos = words.count(int(detail.get("templates", 0)), "photo")
        who = f"The person with ID <b>{words.escape(event.user_id)}</b>"
        return "unknown", "×", f'{who} was erased <span class="robi-quiet">{photos}</span>'
    if event.kind == "merged":
        photos = words.count(int(detail.get("templates", 0)), "photo")
        return "match", "+", _MERGED.format(who or erased, photos)
    if event.kind == "photo_asked":
        return "review", "?", f"A better photo of <b>{who or erased}</b> is wanted"
    if event.kind == "tuned":
        return "unknown", "·", _tell_tuning(detail)
    return "unknown", "·", words.escape(event.kind)


def _tell_tuning(detail: Mapping[str, Any]) -> str:
    steps = (
        f"{tunings.LABEL.get(name, name)} {tunings.said(name, old)} → <b>{tunings.said(name, new)}</b>"
        for name, (old, new) in detail.get("changed", {}).items()
    )
    reason = words.escape(str(detail.get("reason", "")))
    return f'Tuned: {", ".join(steps)} <span class="robi-quiet">{reason}</span>'


def _tell_check(event: Event, who: str) -> tuple[str, str, str]:
    detail = event.detail
    decision = Decision(detail.get("decision", Decision.UNKNOWN))
    number = words.similarity(detail.get("similarity"), _threshold(detail))
    where = {"live": "live", "1:1": "one to one", "1:N": "photo or API"}.get(str(detail.get("mode")), "")
    said = {
        Decision.MATCH: f"<b>{who}</b> was recognised",
        Decision.REVIEW: f"A face could be <b>{who}</b>: please check",
        Decision.UNKNOWN: "A face was not recognised",
    }[decision]
    why = words.reasons(detail.get("held_back_by", ())) if decision is Decision.REVIEW else ""
    quiet = " · ".join(part for part in (number if number != "–" else "", where, why) if part)
    return decision.value, words.SHAPE[decision], f'{said} <span class="robi-quiet">{quiet}</span>'


def _threshold(detail: Mapping[str, Any]) -> float | None:
    """The threshold that decided, where it is on record."""
    decided_by: Mapping[str, Any] = detail.get("decided_by", detail)
    return decided_by.get("threshold")
