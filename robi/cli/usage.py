"""The command line's own grammar."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn, TypeAlias

from core.domain.errors import BadInput


class Parser(argparse.ArgumentParser):
    """Bad usage is an error like any other; options cannot be abbreviated."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raises BadInput: `bad_parameter`."""
        raise BadInput("bad_parameter", f"{message[:1].upper()}{message[1:]}.", f"See {self.prog} --help.")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
