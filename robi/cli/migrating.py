"""`robi migrate`: carry the ledger from SQLite to PostgreSQL, or back."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from pydantic import SecretStr

from core.config.settings import given_settings
from core.domain.errors import BadInput, StartError, Unavailable
from core.domain.wording import count
from core.runtime import data_dir
from robi.cli.answers import CommandAnswer
from robi.cli.gallery import settings_of
from robi.cli.usage import Commands, Parser

SQLITE = "sqlite"


def add(commands: Commands, shared: Sequence[Parser]) -> None:
    parser = commands.add_parser("migrate", parents=shared, help="carry the ledger to another database")
    parser.add_argument(
        "--to",
        required=True,
        metavar="URL",
        help="postgresql://USER@HOST/DATABASE, password also by PGPASSWORD; or sqlite: the data directory",
    )
    parser.set_defaults(command=migrate)


def migrate(options: argparse.Namespace) -> CommandAnswer:
    """Robi stands still meanwhile; after a break it goes on where it ended."""
    settings = settings_of(options)
    source = settings.ledger
    file = settings.robi_data_dir / "ledger.db"
    to: Path | SecretStr = file
    if options.to != SQLITE:
        to = given_settings(database_url=options.to).database_url
    if source == to or isinstance(source, Path) == isinstance(to, Path):
        raise BadInput(
            "bad_parameter",
            "The ledger would be copied to the same kind of database.",
            "From SQLite, leave DATABASE_URL unset; from PostgreSQL, set it and say --to sqlite.",
        )
    if isinstance(source, Path) and not source.exists():
        raise StartError("data_dir_unusable", "There is no ledger in that directory.", "Name another one.")
    rows = _copied(settings.robi_data_dir, source, to)
    people, templates = count(rows["people"], "person", "people"), count(rows["templates"], "template")
    return CommandAnswer(
        [
            f"{people}, {templates} and everything else copied and compared row by row.",
            _next(file, to),
        ],
        {"rows": dict(rows)},
    )


def _copied(directory: Path, source: Path | SecretStr, to: Path | SecretStr) -> dict[str, int]:
    from core.ledger.copying import copy
    from core.ledger.opening import open_database

    with ExitStack() as open_now:
        open_now.callback(data_dir.hold(directory).close)
        try:
            there, here = open_database(source), open_database(to)
            open_now.callback(there.close)
            open_now.callback(here.close)
            return dict(copy(there, here))
        except Unavailable as problem:
            raise StartError(problem.code, problem.message, problem.hint) from problem


def _next(file: Path, to: Path | SecretStr) -> str:
    if isinstance(to, Path):
        return (
            "Unset DATABASE_URL and start Robi. The database keeps what it had: remove it when all is well."
        )
    return f"Set DATABASE_URL and start Robi. {file} keeps what it had: remove it when all is well."
