"""The photos so far: how many are good, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import streamlit as st

from core.domain.faces import Reason
from core.faces.quality import sentence
from core.live import ENOUGH, GOAL, LiveSessions
from dashboard.enroll import enrolling
from dashboard.enroll.enrolling import Together
from dashboard.shared import words
from dashboard.shared.drafts import Collected, Draft

_MANY = 2  # with more photos the list scrolls in itself: what is above and below stays in view
_HEIGHT = 320


def show_count(together: Together) -> None:
    good = len(together.good)
    dots = "●" * min(good, GOAL) + "○" * max(0, GOAL - good)
    label = f"{min(good, GOAL)} of {GOAL} photos taken"
    st.html(
        f'<div class="robi-dots"><span role="img" aria-label="{label}">{dots}</span> '
        f"{words.count(good, 'good photo')}</div>"
    )
    if together.people > 1:
        st.warning(
            "Remove those of the others: only photos of one person are saved."
            if good
            else "Keep the photos of one of them and remove the others.",
            title=f"These show {together.people} different people",
            icon=":material/group:",
        )


def show_all(live: LiveSessions, draft: Draft, photos: Sequence[Collected], together: Together) -> None:
    if photos:
        height: int | Literal["content"] = _HEIGHT if len(photos) > _MANY else "content"
        with (
            st.container(height=height, border=False, key="enroll_photos"),
            st.grid("auto", min_column_width=120),
        ):
            for item in photos:
                _show(live, draft, item, together)
    if len(together.good) < ENOUGH:
        st.caption("Three to five good photos, in slightly different poses, recognise best.")


def _show(live: LiveSessions, draft: Draft, item: Collected, together: Together) -> None:
    with st.container(border=True, gap="xsmall", height="stretch"):
        if item.verdict and item.verdict.thumbnail:
            st.image(item.verdict.thumbnail, width=88, alt=item.photo)
        st.markdown(f":small[{_said(item, together)}]")
        st.caption(words.plain(item.photo))
        st.button(
            "Remove",
            key=f"remove_{item.id}",
            type="tertiary",
            on_click=enrolling.remove,
            args=(live, draft, item),
        )


def _said(item: Collected, together: Together) -> str:
    if item.problem:
        return f":red[!] {words.plain(item.problem.message)} {words.plain(item.problem.hint)}"
    reasons = item.verdict.rejects if item.verdict else ()
    warnings = item.verdict.warnings if item.verdict else ()
    if reasons:
        return f":red[!] {sentence(reasons[0])}"
    if item.id in together.strangers:
        said = sentence(Reason.DIFFERENT_PERSON) if together.good else "Somebody else than in other photos."
        return f":red[!] {said}"
    if item.id in together.twice:
        return ":gray[–] The same photo as another one; it counts once."
    return f":orange[?] Usable. {sentence(warnings[0])}" if warnings else ":green[✓] Good"
