"""Run by Alembic: applies the steps on the connection, and in the transaction, that Robi hands over."""

from __future__ import annotations

from alembic import context

from core.ledger.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
