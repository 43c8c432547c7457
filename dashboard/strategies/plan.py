"""What a comparison is to measure: the choices an engineer makes, and the settings that come of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from core.benchmark.labels import full, parts
from core.benchmark.model import COVERAGES, Setting
from core.config.settings import IndexType
from core.config.tuning import Tuning
from core.domain.search import Strategy
from dashboard.shared import words
from dashboard.strategies.words import at_once, seconds


@dataclass(frozen=True, slots=True)
class Selection:
    """Every combination of these is measured, as far as the strategy makes use of it."""

    strategies: tuple[Strategy, ...]
    coverages: tuple[float, ...]
    index_types: tuple[IndexType, ...]
    nprobes: tuple[int, ...]
    search_efs: tuple[int, ...]
    concurrencies: tuple[int, ...]
    count: int

    @classmethod
    def usual(cls, tuning: Tuning) -> Selection:
        """All strategies with the index in use, with the whole gallery cached and with a tenth of it."""
        return cls(
            strategies=tuple(Strategy),
            coverages=(COVERAGES[0], COVERAGES[-1]),
            index_types=(tuning.index_type,),
            nprobes=(tuning.nprobe,),
            search_efs=(tuning.search_ef,),
            concurrencies=(1, 8),
            count=300,
        )


def settings_of(choice: Selection, tuning: Tuning) -> tuple[Setting, ...]:
    """The settings to measure: those that differ in what their strategy uses, each once.

    What a setting does not use is as in `tuning`, so that putting it into use changes nothing else.
    """
    found: dict[str, Setting] = {}
    for strategy, coverage, index, nprobe, ef in product(
        choice.strategies,
        choice.coverages or (1.0,),
        choice.index_types or (tuning.index_type,),
        choice.nprobes or (tuning.nprobe,),
        choice.search_efs,
    ):
        setting = Setting(strategy, coverage, index, nprobe, ef)
        used = parts(setting)
        if "coverage" not in used:
            setting = replace(setting, coverage=1.0, index_type=tuning.index_type)
        if "nprobe" not in used:
            setting = replace(setting, nprobe=tuning.nprobe)
        found.setdefault(full(setting), setting)
    return tuple(found.values())


def missing(choice: Selection) -> str | None:
    """What must be chosen before anything can be measured."""
    if not choice.strategies:
        return "Choose at least one strategy."
    if not choice.concurrencies:
        return "Choose how many searches are made at once."
    if Strategy.HYBRID in choice.strategies or Strategy.FAISS_FIRST in choice.strategies:
        if not choice.coverages:
            return "Choose how much of the gallery is in the cache."
        if not choice.index_types:
            return "Choose at least one index type."
        if not choice.nprobes and any(index.startswith("IVF") for index in choice.index_types):
            return "Choose at least one nprobe."
    return None if choice.search_efs else "Choose at least one ef."


def sentence(choice: Selection, settings: Sequence[Setting], expected_s: float) -> str:
    """What is going to be measured, and how long that takes."""
    strategies = ", ".join(words.STRATEGY[s] for s in choice.strategies)
    loads = f"{at_once(choice.concurrencies)} at once"
    return (
        f"{strategies}: {words.count(len(settings), 'setting')} × {loads}, "
        f"{words.count(choice.count, 'probe')} each. About {seconds(expected_s)}."
    )
