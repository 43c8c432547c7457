"""Comparing search settings on the gallery in use, against an exact search of the same probes."""

from core.benchmark.legacy import (
    SIMILARITY,
    STRANGERS,
    BenchmarkRun,
    StrategyRow,
    compare,
    run,
)

__all__ = ["SIMILARITY", "STRANGERS", "BenchmarkRun", "StrategyRow", "compare", "run"]
