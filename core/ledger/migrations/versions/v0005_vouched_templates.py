"""Which templates say who a person is: those of the first enrollment. What was added later does not."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_FIRST = "SELECT MIN(created_at) FROM templates AS first WHERE first.person_id = templates.person_id"


def upgrade() -> None:
    op.add_column("templates", sa.Column("vouched", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.execute(f"UPDATE templates SET vouched = (created_at = ({_FIRST}))")  # noqa: S608  no input in it
