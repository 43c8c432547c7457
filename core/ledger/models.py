"""The tables of the ledger. `migrations` builds them; a test holds the two together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    CursorResult,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    true,
)
from sqlalchemy.types import TypeDecorator

from core.domain.faces import Embedding


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, aware on the way in and UTC on the way out; SQLite itself keeps no time zones."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  SQLAlchemy calls it so
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  SQLAlchemy calls it so
        return None if value is None else value.replace(tzinfo=UTC)


def pack_vector(vector: Embedding) -> bytes:
    """Little-endian float32, whatever the machine."""
    return vector.astype("<f4", copy=False).tobytes()


def unpack_vector(blob: bytes) -> Embedding:
    """The stored vector, read-only, without a copy."""
    return np.frombuffer(blob, dtype="<f4")


def inserted_id(result: CursorResult[Any]) -> int:
    """The id of the one row that was inserted."""
    key = result.inserted_primary_key
    assert key is not None  # noqa: S101  an insert of one row has one
    return int(key[0])


# PostgreSQL's integers have 32 bits unless they are asked for more, and it sorts by a language: SQLite's have
# 64, and its order is that of the characters' numbers. The order of names, and cursors, are the same on both.
_Integer = Integer().with_variant(BigInteger(), "postgresql")


def _string(length: int | None = None) -> String:
    return String(length).with_variant(String(length, collation="C"), "postgresql")


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# sqlite_autoincrement: a number that was given once is never given again, not even after an erasure.
# The vector tiers rely on it: a stale entry can point at nothing, but never at somebody else.

people = Table(
    "people",
    metadata,
    Column("id", _Integer, primary_key=True),
    Column("user_id", _string(64), nullable=False, unique=True),
    Column("name", _string(), nullable=False),
    Column("search_key", _string(), nullable=False),  # see core.ledger.text
    Column("skeleton", _string()),  # what the name looks like: see core.domain.names
    Column("metadata", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("last_matched_at", UtcDateTime),
    Column("active_at", UtcDateTime, nullable=False),  # last matched or enrolled: who belongs in the hot tier
    Column("photo_asked_at", UtcDateTime),  # an engineer asked for a better photo; none was enrolled since
    Index(None, "search_key", "user_id"),
    Index(None, "skeleton"),
    Index(None, "active_at"),
    sqlite_autoincrement=True,
)

templates = Table(
    "templates",
    metadata,
    Column("id", _Integer, primary_key=True),
    Column("person_id", _Integer, ForeignKey("people.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("vector", LargeBinary, nullable=False),
    Column("quality", Float, nullable=False),
    Column("via", _string(), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("thumbnail", LargeBinary),
    Column("vouched", Boolean, nullable=False, server_default=true()),  # not added later
    sqlite_autoincrement=True,
)

changes = Table(
    "changes",
    metadata,
    Column("seq", _Integer, primary_key=True),
    Column("kind", _string(4), nullable=False),
    Column("template_id", _Integer, nullable=False),  # no foreign keys: the feed outlives what it tells of
    Column("person_id", _Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    Column("id", _Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("kind", _string(), nullable=False),
    Column("person_id", _Integer),  # no foreign key: the event stays when the person is erased
    Column("user_id", _string()),
    Column("detail", JSON, nullable=False),
    Index(None, "kind", "at"),  # what was decided since a moment
    Index(None, "kind"),  # a page of one kind, by id: without it all of them would be sorted for one
    Index(None, "user_id"),
    sqlite_autoincrement=True,
)

gallery = Table(
    "gallery",
    metadata,
    Column("id", _Integer, primary_key=True),  # always 1
    Column("pack_id", _string(), nullable=False),
    Column("digest", _string(), nullable=False),
    Column("dimension", _Integer, nullable=False),
    Column("gallery_id", _string(36), nullable=False),  # a UUID, given once: no other gallery has it
    Column("folding", _string()),  # by which names were folded for search; see core.domain.folding
)

tunings = Table(
    "tunings",
    metadata,
    Column("id", _Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("values", JSON, nullable=False),  # what differs from the settings after this step
    Column("reason", _string(), nullable=False),
    sqlite_autoincrement=True,
)

pairs = Table(  # people who look alike and were found to be two: `low` is the smaller number
    "pairs",
    metadata,
    Column("low", _Integer, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True),
    Column("high", _Integer, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("margin", Float, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

runs = Table(  # comparisons of strategies
    "runs",
    metadata,
    Column("id", _Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("name", _string(), nullable=False),
    Column("summary", JSON, nullable=False),  # for the list, so that it need not read the documents
    Column("document", JSON, nullable=False),
    sqlite_autoincrement=True,
)

history = Table(  # what was measured, downsampled: one row for each `seconds` that began at `start`
    "history",
    metadata,
    Column("seconds", _Integer, primary_key=True),
    Column("start", _Integer, primary_key=True),  # seconds since 1970, UTC; a multiple of `seconds`
    Column("measured", JSON, nullable=False),
)
