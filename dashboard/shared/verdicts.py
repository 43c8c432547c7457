"""Verdicts on faces as a screen shows them, and what stands in their place until there is one."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.domain.faces import Reason
from core.domain.search import Candidate, Decision, SearchResult
from core.faces.quality import sentence
from dashboard.shared import widgets, words

_TWICE = Reason.SAME_PERSON_TWICE


def face(search: SearchResult, note: str | None = None, *, nearest: bool = False) -> None:
    """One face's decision and who it may be, each with their similarity against the threshold.

    With `nearest`, for engineers, everybody found is listed, also below the review band.
    """
    candidates = search.candidates if nearest else search.proposed
    parts = [_headline(search)]
    notes = [note, sentence(_TWICE) if _TWICE in search.held_back_by else None]
    parts += [f'<span class="robi-quiet">{words.escape(said)}</span>' for said in notes if said]
    parts += [_candidate(c, n == 0, search) for n, c in enumerate(candidates)]
    if not candidates:
        parts.append('<span class="robi-quiet">Nobody in the gallery resembles this face.</span>')
    warning = words.degraded(search)
    if warning:
        parts.append(f'<span class="robi-quiet">{words.escape(warning)}</span>')
    st.html(f'<div class="robi-result">{"".join(parts)}</div>')


def faces(numbered: Sequence[tuple[int, SearchResult | None]], more: int = 0) -> None:
    """Several faces by their numbers, each with its decision and whom it resembles most."""
    parts = []
    for number, search in numbered:
        said = '<span class="robi-quiet">Looking …</span>'
        if search:
            said = _headline(search)
            said += "".join(_candidate(candidate, True, search) for candidate in search.proposed[:1])
        parts.append(
            f'<div class="robi-face"><span class="robi-number">{number}</span><div>{said}</div></div>'
        )
    if more:
        parts.append(
            f'<span class="robi-quiet">{words.escape(words.count(more, "more face"))} in view</span>'
        )
    st.html(f'<div class="robi-result">{"".join(parts)}</div>')


def _headline(search: SearchResult) -> str:
    return (
        f'<div class="robi-headline robi-{search.decision}">'
        f'<span class="robi-shape" aria-hidden="true">{words.SHAPE[search.decision]}</span>'
        f"<span>{words.escape(words.headline(search))}</span></div>"
    )


def _candidate(candidate: Candidate, first: bool, search: SearchResult) -> str:
    decision = search.decision if first else _alone(candidate, search)
    verdict = f"{words.VERDICT[decision]} · " if first else ""
    width = max(0.0, min(candidate.similarity, 1.0)) * 100
    limit = f"threshold {words.threshold(search.threshold)}"
    return (
        f'<div class="robi-candidate robi-{decision}"><span><b>{words.escape(candidate.name)}</b> '
        f'<span class="robi-quiet">{verdict}{words.SOURCE[candidate.source]}</span></span>'
        f"<span>{words.similarity(candidate.similarity, search.threshold)}</span>"
        f'<div class="robi-bar" title="{limit}"><i style="width:{width:.1f}%"></i>'
        f'<s style="left:{search.threshold * 100:.1f}%"></s></div></div>'
    )


def _alone(candidate: Candidate, search: SearchResult) -> Decision:
    """The decision whose colour a runner-up has: review at most, for only the best can be a match."""
    return Decision.REVIEW if candidate.similarity >= search.threshold else Decision.UNKNOWN


def waiting(sentence: str) -> None:
    """Keeps the place of a result that is still to come."""
    quiet = f'<span class="robi-quiet">{words.escape(sentence)}</span>'
    st.html(f'<div class="robi-result robi-waiting">{quiet}</div>')


def instead() -> None:
    """Hidden, until style.css shows it in place of a verdict while the browser's camera is not live."""
    st.html(
        '<div class="robi-result robi-waiting robi-instead">'
        f'<span class="robi-gone">{widgets.NO_CONNECTION}</span>'
        '<span class="robi-quiet robi-idle">Waiting for the camera</span></div>'
    )
