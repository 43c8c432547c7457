"""The ledger's schema, step by step. A step that has been released is never edited."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect

from core.domain.errors import StartError
from core.ledger.models import metadata

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0007"  # the newest step; a test compares it with the files
UNFINISHED = "copying"  # in a database that a ledger is being copied to


def migrate(connection: Connection) -> None:
    """Bring the schema up to date inside the transaction that `connection` is in.

    Raises:
        StartError: `ledger_too_new` when a newer Robi has written this ledger; `ledger_foreign` when another
            program has; `ledger_unfinished` when it is half a copy.
    """
    found = revision(connection)
    if found == HEAD:
        return
    if found == UNFINISHED:
        raise StartError(
            "ledger_unfinished",
            "A ledger was being copied to this database, and not all of it is there.",
            "Run robi migrate again, which goes on where it ended.",
        )
    if found is None and set(inspect(connection).get_table_names()) & set(metadata.tables):
        raise foreign()
    if found is not None and not found.isdecimal():
        raise foreign()
    if found is not None and found > HEAD:
        raise StartError(
            "ledger_too_new",
            "This ledger was written by a newer version of Robi.",
            "Install that version or a later one, or use another ROBI_DATA_DIR or DATABASE_URL.",
        )
    from alembic import command  # a quarter of a second that an up-to-date start saves

    logging.getLogger("alembic").setLevel(logging.WARNING)  # it lists its own plug-ins
    command.upgrade(alembic_config(connection), HEAD)


def alembic_config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def foreign() -> StartError:
    return StartError(
        "ledger_foreign",
        "The database holds tables of another program.",
        "Give Robi a database of its own, or a data directory.",
    )


def revision(connection: Connection) -> str | None:
    """The newest step that was taken; None before the first one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
