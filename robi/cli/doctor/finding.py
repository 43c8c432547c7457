"""What the doctor finds out about one part."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType

from core.domain.errors import RobiError

LIBRARIES = "Install Robi with its libraries: robi[cpu], or robi[gpu] where there is an NVIDIA card."


class Level(StrEnum):
    """From good to bad."""

    WELL = "ok"
    MIND = "warning"  # it works, but not all of it or not as it was asked for
    WRONG = "problem"  # Robi cannot start, or cannot recognise anybody


@dataclass(frozen=True, slots=True)
class Finding:
    part: str
    verdict: Level
    says: str
    do: str = ""

    @classmethod
    def of(cls, part: str, problem: RobiError) -> Finding:
        return cls(part, Level.WRONG, problem.message, problem.hint)


def imported(part: str, module: str) -> ModuleType | Finding:
    try:
        return importlib.import_module(module)
    except ImportError as problem:  # also one that finds no system library
        return not_installed(part, problem)


def not_installed(part: str, problem: ImportError) -> Finding:
    return Finding(part, Level.WRONG, f"A package is missing, or cannot be loaded: {problem.msg}.", LIBRARIES)
