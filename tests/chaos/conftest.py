"""What a run of the chaos tests says of itself: its seed first, and what each of them went through last."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.seed import KILLS, SEED

LINES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LINES] = []


def pytest_report_header() -> str:
    return f"ROBI_CHAOS_SEED={SEED} ROBI_CHAOS_KILLS={KILLS}"


@pytest.fixture
def tell(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Adds a line to what is printed at the end, whether the test passes or not."""
    return pytestconfig.stash[LINES].append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[LINES]:
        terminalreporter.section(f"chaos: {pytest_report_header()}")
        for line in config.stash[LINES]:
            terminalreporter.write_line(line)
