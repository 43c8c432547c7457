"""Reads the command line, runs the command, says how it went.

Exit status: 0 done, 1 the answer of `verify` is no, 2 bad usage or an error.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence

from core import __version__
from core.config.settings import load_settings
from core.domain.errors import RobiError
from core.telemetry import logs
from robi.cli import backup, doctor, migrating, people, recognition, serving
from robi.cli.answers import INTERRUPTED, CommandAnswer, give, refuse
from robi.cli.usage import Commands, Parser


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in given
    try:
        options = _parser().parse_args(given)
        if options.serves:
            return serving.run(options)
        _listen_to_the_log(debug=os.environ.get("ROBI_LOG_LEVEL") == "DEBUG")
        command: Callable[[argparse.Namespace], CommandAnswer] = options.command
        return give(command(options), as_json=as_json)
    except RobiError as problem:
        return refuse(problem, as_json=as_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads has enough; Python would complain when it closes the output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED
    except Exception as problem:  # a mistake of Robi's must not look like the answer "no"
        logging.getLogger("robi.cli").debug("unforeseen", exc_info=problem)
        message = f"Something unforeseen went wrong ({type(problem).__name__})."
        hint = "Set ROBI_LOG_LEVEL=DEBUG to see where."
        return refuse(RobiError("internal_error", message, hint), as_json=as_json)


def _parser() -> Parser:
    parser = Parser(prog="robi", description="Enroll people and recognise their faces.")
    parser.set_defaults(serves=False)
    parser.add_argument("--version", action="version", version=f"robi {__version__}")
    commands: Commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    serving.add(commands, [_where()])
    for kind in (recognition, people, backup, doctor, migrating):
        kind.add(commands, [_where(), _how()])
    return parser


def _where() -> Parser:
    parser = Parser(add_help=False)
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="the gallery's directory; left out: ROBI_DATA_DIR, or ./data",
    )
    return parser


def _how() -> Parser:
    parser = Parser(add_help=False)
    parser.add_argument("--json", action="store_true", help="answer, and complain, in JSON")
    return parser


def _listen_to_the_log(*, debug: bool) -> None:
    """A command prints its answer alone. Only with `debug` is there a log as well."""
    if debug:
        logs.configure(load_settings())
    else:
        logging.captureWarnings(capture=True)
        logging.getLogger().addHandler(logging.NullHandler())
