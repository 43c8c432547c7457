"""Which gallery a command works on."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.config.settings import Settings, load_settings
from core.domain.errors import StartError
from robi.library import Robi


def settings_of(options: argparse.Namespace) -> Settings:
    """Those of the dashboard: of the environment and `.env`. `--data-dir` stands over them."""
    return load_settings(**({} if options.data_dir is None else {"robi_data_dir": options.data_dir}))


def opened(options: argparse.Namespace, *, make: bool = False) -> Robi:
    """The gallery, which must be there already unless `make`."""
    settings = settings_of(options)
    if not make and isinstance(settings.ledger, Path) and not settings.ledger.exists():
        raise StartError(
            "data_dir_unusable",
            "There is no gallery in that directory.",
            "Name another one with --data-dir or ROBI_DATA_DIR, or enroll somebody.",
        )
    return Robi.of(settings)
