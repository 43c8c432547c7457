"""What engineers decide and measure: tuned settings, look-alike pairs, comparisons, and measured history."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("people", sa.Column("photo_asked_at", sa.DateTime))
    _tunings()
    _pairs()
    _runs()
    _history()


def _tunings() -> None:
    op.create_table(
        "tunings",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("values", sa.JSON, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tunings"),
        sqlite_autoincrement=True,
    )


def _pairs() -> None:
    op.create_table(
        "pairs",
        sa.Column("low", sa.Integer, nullable=False),
        sa.Column("high", sa.Integer, nullable=False),
        sa.Column("margin", sa.Float, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("low", "high", name="pk_pairs"),
        sa.ForeignKeyConstraint(["low"], ["people.id"], name="fk_pairs_low", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["high"], ["people.id"], name="fk_pairs_high", ondelete="CASCADE"),
    )
    op.create_index("ix_pairs_high", "pairs", ["high"])


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("summary", sa.JSON, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sqlite_autoincrement=True,
    )


def _history() -> None:
    op.create_table(
        "history",
        sa.Column("seconds", sa.Integer, nullable=False),
        sa.Column("start", sa.Integer, nullable=False),
        sa.Column("measured", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("seconds", "start", name="pk_history"),
    )
