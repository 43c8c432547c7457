"""Shared bits of screen: page header, failures, empty states, rows, times."""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.domain.errors import RobiError
from core.domain.listing import Page
from dashboard.shared import words

log = logging.getLogger(__name__)

T = TypeVar("T")

NO_CONNECTION = (
    f'<span class="robi-shape robi-alert" aria-hidden="true">!</span> {words.escape(words.NO_CONNECTION)}'
)
_PAGE, _FAILED = "page", "failed at "
_FLASH_S = 6.0

PAGES = Path(__file__).resolve().parents[2] / "pages"


@dataclass(slots=True)
class _Flash:
    text: str
    below: bool
    since: float | None = None  # when it was first drawn, by `time.monotonic`


def page(name: str) -> str:
    """The path under which `st.page_link` and `st.switch_page` know a page."""
    return str(PAGES / f"{name}.py")


def header(title: str, sentence: str) -> DeltaGenerator:
    """Title and purpose of a page; returns the place for its main action, top right."""
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    left.title(title, anchor=False)
    left.markdown(sentence)
    _show_flash()
    return right.container(horizontal_alignment="right")


def entered(name: str) -> None:
    """Note which page is drawn, and forget the problems that were shown on the one before."""
    before = st.session_state.get(_PAGE)
    st.session_state[_PAGE] = name
    if before not in (None, name):
        for key in [key for key in st.session_state if str(key).startswith(_FAILED)]:
            del st.session_state[key]


def show_failure(problem: BaseException) -> None:
    """Say what went wrong: Robi's own errors in words, anything else with a reference for the log."""
    if isinstance(problem, RobiError):
        st.error(problem.hint or "", title=problem.message, icon=":material/error:")
        return
    reference = secrets.token_hex(4)
    log.error("unexpected failure %s", reference, exc_info=problem)
    st.error(
        f"Nothing you saved is lost. Load the page again; if it comes back, look for {reference} in the log.",
        title="Something went wrong",
        icon=":material/error:",
    )


def empty(sentence: str) -> DeltaGenerator:
    """An empty state: the sentence, and the place for the one button that leads on from it."""
    box = st.container(border=True, horizontal_alignment="center")
    box.space("small")
    box.markdown(sentence, text_alignment="center")
    place = box.container(horizontal=True, horizontal_alignment="center")
    box.space("small")
    return place


def nobody_yet(sentence: str) -> DeltaGenerator:
    """The empty state of a gallery without people, with the button that begins one."""
    place = empty(sentence)
    with place:
        if st.button("Enroll the first person", type="primary", icon=":material/person_add:"):
            st.switch_page(page("enroll"))
    return place


def here() -> tzinfo:
    """The time zone of the person in front of the screen."""
    return words.zone(st.context.timezone)


def when(moment: datetime | None, *, never: str = "never") -> str:
    """HTML: relative time with the exact one on hover."""
    if moment is None:
        return f'<span class="robi-quiet">{words.escape(never)}</span>'
    now, local = datetime.now(UTC), here()
    return (
        f'<time datetime="{moment.isoformat()}" title="{words.exact(moment, local)}">'
        f"{words.ago(moment, now)}</time>"
    )


def since(moment: datetime) -> str:
    """`since 14:02` in the operator's time zone."""
    return f"since {words.clock(moment, datetime.now(UTC), here())}"


def rows(lines: Iterable[tuple[str, str, str, str]]) -> None:
    """A list that reads well on any width. Each line: meaning, shape, HTML, right-hand HTML."""
    body = "".join(
        f'<div class="robi-row robi-{meaning}"><span class="robi-shape" aria-hidden="true">{shape}</span>'
        f"<span>{text}</span><span>{right}</span></div>"
        for meaning, shape, text, right in lines
    )
    st.html(f'<div class="robi-rows">{body}</div>')


def trying(action: Callable[[], T]) -> T | None:
    """What an operator's action returns; None after showing what went wrong with it.

    The message is gone after the next rerun of the page's script. Where more than the operator's own clicks
    cause reruns, as a timer or a camera does, use `attempt`.
    """
    try:
        return action()
    except RobiError as problem:
        show_failure(problem)
        return None


def attempt(place: str, action: Callable[[], T]) -> T | None:
    """As `trying`, but the problem is kept until the next attempt at this place: `show_problem` shows it."""
    forget_problem(place)
    try:
        return action()
    except RobiError as problem:
        keep_problem(place, problem)
        return None


def keep_problem(place: str, problem: RobiError) -> None:
    st.session_state[_FAILED + place] = (problem, time.monotonic())


def forget_problem(place: str) -> None:
    """To be called when the problem is solved, or when what it was about has changed."""
    st.session_state.pop(_FAILED + place, None)


def show_problem(place: str, *, for_s: float = math.inf) -> None:
    """What went wrong with the last attempt at this place, however often the page was drawn since."""
    problem, at = st.session_state.get(_FAILED + place, (None, 0.0))
    if problem is not None and time.monotonic() - at < for_s:
        show_failure(problem)


def sparkline(column: Sequence[float | None]) -> list[float]:
    """A series for the small chart of a tile, which cannot draw gaps: what was not measured counts as 0.

    Gaps come from restarts and from clocks that are set. Empty when nothing was measured at all.
    """
    drawn = [value if value is not None and math.isfinite(value) else None for value in column]
    return [value or 0.0 for value in drawn] if any(value is not None for value in drawn) else []


def no_connection() -> None:
    """Hidden, until style.css shows it in place of the status line while the browser gets no answer."""
    st.html(f'<div class="robi-lost">{NO_CONNECTION}</div>')


def flash(message: str, *, below: bool = False) -> None:
    """Say `message` once, at the top of the next page that is drawn.

    With `below` it is a toast as well: for buttons so far down that the top of the page is out of sight.
    """
    st.session_state["flash"] = _Flash(message, below)


def _show_flash() -> None:
    """For `_FLASH_S`, not for one run only: a starting camera or an ending run causes another at once."""
    message: _Flash | None = st.session_state.get("flash")
    if message is None:
        return
    now = time.monotonic()
    if message.since is not None and now - message.since > _FLASH_S:
        del st.session_state["flash"]
        return
    st.success(message.text, icon=":material/check:")
    if message.since is None and message.below:
        st.toast(message.text, icon=":material/check:")
    message.since = message.since or now


def pager(trail_key: str, found: Page[Any], total: str, per_page: int) -> None:
    """Back and Next over `st.session_state[trail_key]`, the cursors of the pages seen so far."""
    trail: list[str | None] = st.session_state[trail_key]
    first = (len(trail) - 1) * per_page + 1
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Back",
            key=f"{trail_key}_back",
            icon=":material/chevron_left:",
            disabled=len(trail) == 1,
            on_click=_pop,
            args=(trail,),
        )
        st.button(
            "Next",
            key=f"{trail_key}_next",
            icon=":material/chevron_right:",
            icon_position="right",
            disabled=found.next is None,
            on_click=trail.append,
            args=(found.next,),
        )
        last = first + len(found.items) - 1
        st.caption(f"{first:,}–{last:,} of {total}", width="content")


def _pop(trail: list[str | None]) -> None:
    trail.pop()
