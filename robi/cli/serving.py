"""`robi run`: dashboard and API."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from robi.cli.usage import Commands, Parser


def add(commands: Commands, shared: Sequence[Parser]) -> None:
    parser = commands.add_parser("run", parents=shared, help="serve dashboard and API")
    parser.add_argument("--host", help="address to listen on; left out: ROBI_HOST, or localhost")
    parser.add_argument("--port", type=int, help="port; left out: ROBI_PORT, or 8000")
    parser.set_defaults(serves=True)


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; what keeps Robi from starting is one line, and status 2."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from dashboard.__main__ import main

    asked = {
        "robi_data_dir": options.data_dir,
        "robi_host": options.host,
        "robi_port": options.port,
    }
    return main({name: value for name, value in asked.items() if value is not None})
