"""The parts of Robi, each with its state, since when, its last error, and the button that helps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.domain.errors import RobiError, Unavailable
from core.domain.system import ComponentHealth, Health
from core.services.service import RobiService
from dashboard.shared import widgets, words

_LOOK: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "ok": ("match", "✓", "ready"),
        "warming": ("unknown", "…", "warming up"),
        "degraded": ("review", "?", "degraded"),
        "unavailable": ("alert", "!", "not answering"),
        "off": ("unknown", "–", "off"),
    }
)

_MEANWHILE: Mapping[str, str] = MappingProxyType(
    {
        "qdrant": "Searches go on, at worst with what the cache holds. Nothing is lost, and Robi catches up.",
        "faiss": "Searches go on. Nothing is lost.",
    }
)

_WARMING = "Searches are answered by Qdrant until then."


@st.fragment(run_every=5)
def panel(service: RobiService) -> None:
    """All components; refreshes itself."""
    card(service.monitor.health())


def card(found: Health) -> DeltaGenerator:
    """All components, and the place below them."""
    st.header("Components", anchor=False)
    box = st.container(border=True)
    with box:
        widgets.rows([_line(component) for component in found.components])
    return box


def upkeep(service: RobiService, found: Health) -> None:
    """The buttons for whoever doubts the cache or Qdrant."""
    has_cache = any(part.name == "faiss" and part.status != "off" for part in found.components)
    with st.container(horizontal=True):
        if has_cache:
            _button("rebuild", "Rebuild the cache", "restart_alt", _REBUILD, lambda: _rebuild(service))
        _button("compare", "Compare with the ledger", "fact_check", _COMPARE, lambda: _compare(service))


def trouble(service: RobiService, found: Health) -> None:
    """What is not well, in words and since when, with the button that helps; nothing while all is well."""
    _show_failure()
    for component in found.components:
        meaning, _, word = _LOOK[component.status]
        name = words.COMPONENT.get(component.name, component.name)
        if component.status == "warming":
            st.info(f"{words.plain(component.detail)} {_WARMING}", title=f"{name} {word}")
        if meaning in ("review", "alert"):
            say = st.error if meaning == "alert" else st.warning
            meanwhile = _MEANWHILE.get(component.name, "") if found.status == "degraded" else ""
            text = f"{words.plain(component.detail)} {meanwhile}"
            say(text, title=f"{name} {word} {widgets.since(component.since)}")
            if component.name == "qdrant":
                _button("reconnect", "Reconnect now", "link", _RECONNECT, lambda: _reconnect(service))


def _line(component: ComponentHealth) -> tuple[str, str, str, str]:
    meaning, shape, word = _LOOK[component.status]
    name = words.escape(words.COMPONENT.get(component.name, component.name))
    said = words.escape(component.detail)
    if component.last_error and component.last_error_at and component.last_error != component.detail:
        said += (
            f"<br>Last error {widgets.when(component.last_error_at)}: {words.escape(component.last_error)}"
        )
    return (
        meaning,
        shape,
        f'<b>{name}</b> {word}<br><span class="robi-quiet">{said}</span>',
        f'<span class="robi-quiet">{words.escape(widgets.since(component.since))}</span>',
    )


def _button(key: str, label: str, icon: str, purpose: str, act: Callable[[], str]) -> None:
    """Do it, and say what came of it at the top of the page."""
    if not st.button(label, key=key, icon=f":material/{icon}:", help=purpose):
        return
    st.session_state.pop(_FAILED, None)
    with st.spinner(f"{label} …"):
        try:
            widgets.flash(act())
        except RobiError as problem:  # what is drawn here is gone at the next refresh
            st.session_state[_FAILED] = (problem, time.monotonic())
    st.rerun()


def _show_failure() -> None:
    """What went wrong with the button pressed last; for `_SHOWN_S`."""
    problem, at = st.session_state.get(_FAILED, (None, 0.0))
    if problem is not None and time.monotonic() - at < _SHOWN_S:
        widgets.show_failure(problem)


_FAILED = "health_failed"
_SHOWN_S = 30.0
_RECONNECT = "Tries Qdrant now instead of at Robi's next attempt."
_REBUILD = "Empties the cache and fills it from the ledger again. Searches go on meanwhile."
_COMPARE = "Checks that cache and Qdrant hold exactly the enrolled templates, and puts right what differs."


def _reconnect(service: RobiService) -> str:
    if "qdrant" in service.store.upkeep.reconnect():
        raise Unavailable(
            "tier_unavailable",
            "Qdrant was tried and still does not answer.",
            "Robi goes on trying by itself.",
        )
    return "Qdrant answers again."


def _rebuild(service: RobiService) -> str:
    service.store.upkeep.rebuild("faiss")
    return "The cache was rebuilt from the ledger."


def _compare(service: RobiService) -> str:
    found = service.store.upkeep.check_drift()
    wrong = [drift for drift in found if not drift.ok]
    if wrong:
        return " ".join(
            f"{words.TIER[d.tier]} lacked {words.count(d.missing, 'template')} and held "
            f"{d.extra:,} too many: put right."
            for d in wrong
        )
    named = " and ".join(words.TIER[drift.tier] for drift in found)
    hold = "hold" if len(found) > 1 else "holds"
    return f"{named} {hold} just what the ledger says: {words.count(found[0].ledger_count, 'template')}."
