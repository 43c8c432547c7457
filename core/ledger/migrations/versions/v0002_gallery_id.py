"""A name for the gallery that no other gallery has, so that a vector tier can tell whose copy it holds."""

from __future__ import annotations

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("gallery") as gallery:
        gallery.add_column(sa.Column("gallery_id", sa.String(36)))
    # One row at most, and none before the first pack was bound.
    op.execute(sa.text("UPDATE gallery SET gallery_id = :new").bindparams(new=str(uuid4())))
    with op.batch_alter_table("gallery") as gallery:
        gallery.alter_column("gallery_id", existing_type=sa.String(36), nullable=False)
