"""What a name looks like, so that another one like it is found; and by which folding names were folded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("people", sa.Column("skeleton", sa.String))
    op.create_index("ix_people_skeleton", "people", ["skeleton"])
    op.add_column("gallery", sa.Column("folding", sa.String))  # none: everybody is folded at the next start
