"""`robi doctor`: whether each part is well, and what to do where it is not. It changes nothing."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from core.config.settings import Settings, given_settings
from core.domain.errors import StartError
from robi.cli.answers import DONE, FAILED, CommandAnswer
from robi.cli.doctor import directory, recognition, stores
from robi.cli.doctor.finding import Finding, Level
from robi.cli.gallery import settings_of
from robi.cli.usage import Commands, Parser

_MARKS = {Level.WELL: "ok  ", Level.MIND: "mind", Level.WRONG: "FAIL"}


def add(commands: Commands, shared: Sequence[Parser]) -> None:
    parser = commands.add_parser("doctor", parents=shared, help="say what is well, and what to do if not")
    parser.set_defaults(command=examine)


def examine(options: argparse.Namespace) -> CommandAnswer:
    """Status 2 when a part is wrong, so that Robi cannot start or cannot recognise anybody."""
    findings = list(_findings(options))
    worst = next(v for v in reversed(Level) if v is Level.WELL or any(f.verdict is v for f in findings))
    return CommandAnswer(
        [line for finding in findings for line in _lines(finding)],
        {"verdict": worst, "parts": [asdict(finding) for finding in findings]},
        FAILED if worst is Level.WRONG else DONE,
    )


def _findings(options: argparse.Namespace) -> Iterator[Finding]:
    try:
        settings = settings_of(options)
        yield Finding("settings", Level.WELL, "They can be read, and go together.")
    except StartError as problem:
        yield Finding.of("settings", problem)
        settings = _least(options)
    yield recognition.python()
    yield directory.place(settings)
    yield directory.user(settings)
    yield recognition.models(settings)
    yield recognition.libraries(settings)
    yield recognition.gpu(settings)
    yield stores.ledger(settings)
    yield stores.faiss(settings)
    yield stores.qdrant(settings)


def _least(options: argparse.Namespace) -> Settings:
    """Defaults on the directory that is meant, so that the other parts are looked at all the same."""
    return given_settings(robi_data_dir=options.data_dir or os.environ.get("ROBI_DATA_DIR") or "data")


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{_MARKS[finding.verdict]}  {finding.part + ':':<16} {finding.says}"
    if finding.do:
        yield f"{'':<22} -> {finding.do}"
