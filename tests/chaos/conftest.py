"""What a run of the chaos tests says of itself: its seed first, and what each of them went through last."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.seed import KILLS, SEED

STORY = "chaos"


def pytest_report_header() -> str:
    return f"ROBI_CHAOS_SEED={SEED} ROBI_CHAOS_KILLS={KILLS}"


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Adds a line to what is printed at the end, whether the test passes or not."""
    return lambda line: request.node.user_properties.append((STORY, line))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    told = [(report, line) for report in reports for name, line in report.user_properties if name == STORY]
    if not told:
        return
    terminalreporter.section(f"chaos: {pytest_report_header()}")
    for report, line in told:
        terminalreporter.write_line(f"{line} ({report.duration / 60:.1f} min)")
