"""What SQLite has by nature and PostgreSQL by demand: 64 bits, and the order of characters."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_NUMBERS = {
    "people": ("id",),
    "templates": ("id", "person_id"),
    "changes": ("seq", "template_id", "person_id"),
    "events": ("id", "person_id"),
    "gallery": ("id", "dimension"),
    "tunings": ("id",),
    "pairs": ("low", "high"),
    "runs": ("id",),
    "history": ("seconds", "start"),
}
_COUNTED = ("people_id", "templates_id", "changes_seq", "events_id", "tunings_id", "runs_id")
_TEXTS: dict[str, dict[str, int | None]] = {
    "people": {"user_id": 64, "name": None, "search_key": None, "skeleton": None},
    "templates": {"via": None},
    "changes": {"kind": 4},
    "events": {"kind": None, "user_id": None},
    "gallery": {"pack_id": None, "digest": None, "gallery_id": 36, "folding": None},
    "tunings": {"reason": None},
    "runs": {"name": None},
}


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table, columns in _NUMBERS.items():
        for column in columns:
            op.alter_column(table, column, type_=sa.BigInteger)
    for counted in _COUNTED:
        op.execute(f"ALTER SEQUENCE {counted}_seq AS bigint")
    for table, lengths in _TEXTS.items():
        for column, length in lengths.items():
            op.alter_column(table, column, type_=sa.String(length, collation="C"))
