"""A look at a ledger that a PostgreSQL server keeps: nothing is written, made, migrated or locked."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from pydantic import SecretStr
from sqlalchemy import Connection, inspect

from core.ledger.look import LedgerLook
from core.ledger.migrations import foreign
from core.ledger.postgres import PostgresDatabase


@dataclass(frozen=True, slots=True)
class ServerLook:
    version: str  # such as "15.6"
    standby: bool  # or set read-only: nothing can be saved
    durable: bool  # what it has committed survives a power cut
    ledger: LedgerLook | None  # None: there is none yet


def look_at_server(url: SecretStr) -> ServerLook:
    """
    Raises:
        Unavailable: it cannot be reached, or refuses. StartError: `ledger_unfit`, `ledger_foreign`.
    """
    with (
        closing(PostgresDatabase(url.get_secret_value(), connections=1)) as database,
        database.read() as connection,
    ):
        return ServerLook(
            version=_setting(connection, "server_version").partition(" ")[0],
            standby="on"
            in (
                _setting(connection, "in_hot_standby"),
                _setting(connection, "default_transaction_read_only"),
            ),
            durable=_setting(connection, "fsync") == _setting(connection, "full_page_writes") == "on",
            ledger=_ledger(connection),
        )


def _ledger(connection: Connection) -> LedgerLook | None:
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    if not {"alembic_version", "gallery", "people", "templates"} <= tables:
        raise foreign()
    gallery = {column["name"] for column in inspect(connection).get_columns("gallery")} & {
        "gallery_id",
        "pack_id",
        "digest",
    }
    bound = {}
    if gallery:
        columns = ", ".join(sorted(gallery))
        row = connection.exec_driver_sql(f"SELECT {columns} FROM gallery").mappings().first()  # noqa: S608  ours
        bound = dict(row or {})
    return LedgerLook(
        revision=connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar(),
        gallery_id=bound.get("gallery_id"),
        pack_id=bound.get("pack_id"),
        pack_digest=bound.get("digest"),
        people=connection.exec_driver_sql("SELECT count(*) FROM people").scalar_one(),
        templates=connection.exec_driver_sql("SELECT count(*) FROM templates").scalar_one(),
        damage=None,
    )


def _setting(connection: Connection, name: str) -> str:
    """Empty for one that this version does not know."""
    told = connection.exec_driver_sql(f"SELECT current_setting('{name}', true)").scalar()
    return str(told or "")
