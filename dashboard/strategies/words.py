"""How the strategies page says things: settings, estimates, differences. Pure functions, no Streamlit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from core.benchmark.labels import STRATEGY, full, parts
from core.benchmark.model import Estimate, Gain, Measurement, ProbeKind, Setting
from core.benchmark.recommendation import Advice, attainable, finds_fewer, quality
from core.config.tuning import Tuning

PROBES: Mapping[ProbeKind, str] = MappingProxyType(
    {
        ProbeKind.GALLERY: "Gallery",
        ProbeKind.PHOTOS: "Photos",
        ProbeKind.RECENT: "Last checks",
    }
)
STAGE: Mapping[str, str] = MappingProxyType(
    {"hot": "cache", "cold": "Qdrant", "merge": "merge", "join": "names"}
)
"""What stages are called on every page; detect and embed keep their names."""
NAMED = 3  # settings that cannot be told from the recommended one; more are counted


def differing(settings: Iterable[Setting]) -> frozenset[str]:
    """The fields by which these settings differ, the strategy apart."""
    seen: dict[str, set[str]] = {}
    for setting in settings:
        for field, said in parts(setting).items():
            seen.setdefault(field, set()).add(said)
    return frozenset(field for field, values in seen.items() if len(values) > 1)


def short(setting: Setting, fields: frozenset[str]) -> str:
    """What tells a setting from those of the same strategy; the strategy's name when nothing does."""
    told = [said for field, said in parts(setting).items() if field in fields]
    return " · ".join(told) or STRATEGY[setting.strategy]


def named(setting: Setting, fields: frozenset[str]) -> str:
    """`Hybrid · 10% cached`: strategy and whatever the settings differ by."""
    told = [said for field, said in parts(setting).items() if field in fields]
    return " · ".join([STRATEGY[setting.strategy], *told])


def in_effect(setting: Setting, tuning: Tuning, coverage: float) -> bool:
    """Whether searches are made like this now, with `coverage` of the gallery in the cache."""
    return full(setting) == now(tuning, setting.coverage) and attainable(setting, coverage)


def now(tuning: Tuning, coverage: float) -> str:
    """The setting in use, named as those that were measured."""
    return full(Setting(tuning.strategy, coverage, tuning.index_type, tuning.nprobe, tuning.search_ef))


# ---------------------------------------------------------------- figures


def ms(value: float) -> str:
    """Two decimals, as far as they say something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def share(value: float) -> str:
    return f"{value:.3f}"


def rate(value: float) -> str:
    return f"{value:,.0f}"


def estimate(found: Estimate | None, say: Callable[[float], str]) -> str:
    """`0.48 (0.45–0.52)`; `0.48 (0.45 or more)` where the sample cannot support the other end."""
    if found is None:
        return "–"
    low, high = (None if end is None else say(end) for end in (found.low, found.high))
    if low is not None and high is not None:
        return f"{say(found.value)} ({low}–{high})"
    if low is None and high is None:
        return f"{say(found.value)} (too few to tell)"
    return f"{say(found.value)} ({low} or more)" if high is None else f"{say(found.value)} ({high} or less)"


def gain(found: Gain | None, say: Callable[[float], str], unit: str = "") -> str:
    """`0.48 → 2.31 ms: slower by 1.60 to 2.00`."""
    if found is None:
        return "–"
    sides = f"{say(found.a)} → {say(found.b)}{unit}"
    if found.low is None or found.high is None or found.word == "no difference shown":
        return f"{sides}: {found.word}"
    near, far = sorted((abs(found.low), abs(found.high)))
    return f"{sides}: {found.word} by {say(near)} to {say(far)}"


def memory(size: int) -> str:
    """`51.2 MB`, or `14 KB` for a small cache."""
    if not size:
        return "–"
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} KB"


def failures(codes: Mapping[str, int]) -> str:
    """`none`, or `busy 12, search_unavailable 3`."""
    return ", ".join(f"{code} {number:,}" for code, number in sorted(codes.items())) or "none"


def seconds(value: float) -> str:
    """`20 s`, `3 min`."""
    return f"{max(value, 1):.0f} s" if value < 100 else f"{value / 60:.0f} min"


def at_once(concurrencies: Sequence[int]) -> str:
    """`1, 8 and 32`."""
    *rest, last = (str(number) for number in concurrencies)
    return f"{', '.join(rest)} and {last}" if rest else last


def run_name(name: str, run_id: int) -> str:
    """The name with the number of the run: several may be called the same."""
    return f"{name or 'Comparison'} (no. {run_id})"


# ---------------------------------------------------------------- the answer


def value(found: Estimate | None) -> float:
    return found.value if found else float("nan")


def answer(advice: Advice, live: Measurement | None, fields: frozenset[str]) -> str:
    """Which setting, at what cost, in two sentences at most."""
    best = advice.row
    share_ = share(value(quality(best)))
    does = (
        f"finds {share_} of the known people"
        if best.recall_at_1
        else f"decides {share_} of the probes as an exact search does"
    )
    told = f"{named(best.setting, fields)} {does} within {ms(value(best.p95))} ms (p95)"
    return f"{told}{_beside(best, live)}{_alike(advice, fields)}"


def _beside(best: Measurement, live: Measurement | None) -> str:
    if live is best:
        return ". It is in use: no other setting is shown to do better."
    if live is None or not live.p95 or not quality(live):
        return ": none that does as well is shown to be faster."
    if finds_fewer(live, best):
        return ". The setting in use is shown to find fewer."
    return f": {value(live.p95) / value(best.p95):.1f} times as fast as the setting in use."


def _alike(advice: Advice, fields: frozenset[str]) -> str:
    """The settings between which only chance would choose."""
    others = [named(row.setting, fields) for row in advice.equals]
    if not others:
        return ""
    who = ", ".join(others) if len(others) <= NAMED else f"{len(others)} other settings"
    return f" Not to be told from it by so many searches: {who}."
