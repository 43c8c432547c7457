"""How Robi says things: decisions, times, numbers. Pure functions, no Streamlit."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from types import MappingProxyType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.benchmark import labels
from core.domain import wording
from core.domain.decisions import shown
from core.domain.faces import Reason
from core.domain.search import Decision, SearchResult, Source

SHAPE: Mapping[Decision, str] = MappingProxyType(
    {Decision.MATCH: "✓", Decision.REVIEW: "?", Decision.UNKNOWN: "–"}
)
VERDICT: Mapping[Decision, str] = MappingProxyType(
    {Decision.MATCH: "match", Decision.REVIEW: "review", Decision.UNKNOWN: "not recognised"}
)
count = wording.count
STRATEGY = labels.STRATEGY
STRATEGY_HELP = (
    "Hybrid asks the cache and Qdrant at once. Cache first asks Qdrant only when the cache is not sure. "
    "Qdrant only leaves the cache out."
)
NO_CONNECTION = "No connection to Robi"
SOURCE: Mapping[Source, str] = MappingProxyType(
    {
        Source.FAISS: "faiss",
        Source.QDRANT: "qdrant",
        Source.BOTH: "faiss + qdrant",
        Source.LEDGER: "own photos",
    }
)
TIER: Mapping[str, str] = MappingProxyType({"faiss": "The cache", "qdrant": "Qdrant"})
COMPONENT: Mapping[str, str] = MappingProxyType(
    {
        "faces": "Face models",
        "faiss": "Cache (FAISS)",
        "qdrant": "Qdrant",
        "ledger": "Ledger",
        "backup": "Backups",
    }
)
REASON: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.NO_FACE: "no face",
        Reason.SEVERAL_FACES: "several faces",
        Reason.FACE_TOO_SMALL: "too far away",
        Reason.BLURRED: "blurred",
        Reason.TOO_DARK: "too dark",
        Reason.TOO_BRIGHT: "too bright",
        Reason.TURNED_AWAY: "turned away",
        Reason.TILTED: "tilted",
        Reason.CUT_OFF: "cut off",
        Reason.LOW_QUALITY: "low quality",
        Reason.DIFFERENT_PERSON: "someone else",
        Reason.SAME_PERSON_TWICE: "same person twice",
        Reason.FITS_TWO_PEOPLE: "fits two people",
        Reason.ON_ITS_SIDE: "on its side",
        Reason.DAMAGED: "damaged",
        Reason.ALREADY_THERE: "there already",
        Reason.ANIMATION: "an animation",
        Reason.SMALLER_FACES: "smaller faces left out",
    }
)

_MARKDOWN = re.compile(r"[\\`*_{}\[\]()#+\-.!|~:$<>&@=]")
_JOINED = re.compile(r"[-<>~][-=>]|www\.", re.IGNORECASE)


def plain(text: str) -> str:
    """`text` so that Markdown shows it letter by letter, whatever it contains.

    A backslash is not enough. Streamlit looks for `:material/delete:`, `:smile:`, ` -- ` and addresses once
    more in the text that Markdown has made, where nothing is escaped any longer. It looks at one piece of
    text at a time, so what could be such a thing is cut into pieces: `:color[…]` without a colour is a plain
    `<span>`, and what is copied from the screen is what was typed.
    """
    return _MARKDOWN.sub(_as_typed, text)


def _as_typed(found: re.Match[str]) -> str:
    character, end = found[0], found.end()
    before = found.string[max(0, end - 4) : end]
    cut = character in ":@" or _JOINED.fullmatch(before[-2:]) or _JOINED.fullmatch(before)
    return f":color[\\{character}]" if cut else f"\\{character}"


def escape(text: object) -> str:
    return html.escape(str(text), quote=True)


def similarity(value: float | None, threshold: float | None = None) -> str:
    """Two decimals, never a percent sign; a similarity is not a probability.

    Beside a decision give the threshold: what is shown to reach it did reach it.
    """
    if value is None:
        return "–"
    return f"{value if threshold is None else shown(value, threshold, 2):.2f}"


def alikeness(value: float, threshold: float) -> str:
    """How much alike two faces are that may be one person's, for somebody who does not know the numbers."""
    above = (value - threshold) / max(1.0 - threshold, 1e-6)
    if above < 0.2:
        return "Somewhat alike: look closely."
    return "Alike." if above < 0.5 else "Very much alike."


def threshold(value: float) -> str:
    """Two decimals where it has no more; in full otherwise, for similarities are compared with it."""
    return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"


def milliseconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"


def zone(name: str | None) -> tzinfo:
    """The browser's time zone, or UTC when it is unknown."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def ago(moment: datetime, now: datetime) -> str:
    """`just now`, `2 min ago`, `3 h ago`, `5 days ago`; `in 2 min` where a clock is, or was, wrong."""
    seconds = (now - moment).total_seconds()
    if seconds <= -45:
        return f"in {_span(-seconds)}"
    return "just now" if seconds < 45 else f"{_span(seconds)} ago"


def _span(seconds: float) -> str:
    if seconds < 3600:
        return f"{max(1, round(seconds / 60))} min"
    if seconds < 36 * 3600:
        return f"{max(1, round(seconds / 3600))} h"
    return f"{round(seconds / 86400)} days"


def clock(moment: datetime, now: datetime, local: tzinfo) -> str:
    """`14:02` for today, `3 Nov 14:02` within the year, `3 Nov 2025 14:02` before."""
    here, today = moment.astimezone(local), now.astimezone(local)
    if here.date() == today.date():
        return f"{here:%H:%M}"
    year = "" if here.year == today.year else f" {here.year}"
    return f"{here.day} {here:%b}{year} {here:%H:%M}"


def exact(moment: datetime, local: tzinfo) -> str:
    return f"{moment.astimezone(local):%Y-%m-%d %H:%M:%S %Z}"


def stages(latency_ms: Mapping[str, float]) -> str:
    """`detect 5.0 ms · embed 6.1 ms · search 0.9 ms`."""
    return " · ".join(f"{name} {milliseconds(ms)}" for name, ms in latency_ms.items())


def headline(search: SearchResult) -> str:
    """Who this is, in one breath."""
    best = search.best
    if search.decision is Decision.MATCH and best:
        return best.name
    if search.decision is Decision.REVIEW and best:
        return f"Could be {best.name}"
    if best and best.source is Source.LEDGER:  # compared with one person only
        return f"Not recognised as {best.name}"
    return "Not recognised"


def degraded(search: SearchResult) -> str | None:
    """What an operator must know about tiers that did not answer."""
    if not search.degraded:
        return None
    silent = [tier for tier in search.degraded if tier not in search.tiers]
    behind = [tier for tier in search.degraded if tier in search.tiers]
    said = [f"{_tiers(silent)} did not answer"] if silent else []
    said += [f"{_tiers(behind)} {'are' if len(behind) > 1 else 'is'} still catching up"] if behind else []
    used = _tiers(search.tiers).replace("The cache", "the cache") or "nothing else"
    return f"{', '.join(said)}; this search used {used}."


def _tiers(names: Sequence[str]) -> str:
    return " and ".join(TIER.get(name, name) for name in names)


def reasons(codes: Sequence[str]) -> str:
    """`blurred, too dark`, from reason codes or the error codes of files that are no images."""
    known = {str(reason): said for reason, said in REASON.items()}
    return ", ".join(known.get(code, code.replace("_", " ")) for code in codes)


def decimals(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
