"""What calibrating reads besides the vectors, as lean as its bounds need."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Connection, Text, bindparam, select, type_coerce

from core.ledger.models import events, people, templates

_MOST_VARIABLES = 10_000  # SQLite refuses a statement with more than 32766
_OWNERS = (
    select(templates.c.id, people.c.user_id, people.c.name, templates.c.quality, people.c.photo_asked_at)
    .join(people, people.c.id == templates.c.person_id)
    .where(templates.c.id.in_(bindparam("wanted", expanding=True)))
)
_DECISIONS = (
    select(
        events.c.id, type_coerce(events.c.detail, Text), events.c.user_id
    )  # the caller reads the JSON, as it needs it
    .where(events.c.kind == "verified", events.c.at >= bindparam("since"))
    .order_by(events.c.at.desc(), events.c.id.desc())  # as the index has them
    .limit(bindparam("most"))
)


class TemplateOwner(NamedTuple):  # a tuple for speed: there may be fifty thousand
    """Whose a template is. `asked`: a better photo was asked for, and none was enrolled since."""

    user_id: str
    name: str
    quality: float
    asked: bool


def decisions(connection: Connection, since: datetime, limit: int) -> tuple[tuple[int, str, str | None], ...]:
    """The ids, the details as JSON, and who was proposed, of what was decided since then; newest first."""
    rows = connection.execute(_DECISIONS, {"since": since, "most": limit})
    return tuple((row[0], row[1], row[2]) for row in rows)


def owners(connection: Connection, template_ids: Collection[int]) -> dict[int, TemplateOwner]:
    """Those of the templates that exist."""
    found: dict[int, TemplateOwner] = {}
    remaining = iter(template_ids)
    while batch := [int(number) for number in islice(remaining, _MOST_VARIABLES)]:
        for row in connection.execute(_OWNERS, {"wanted": batch}):
            found[row[0]] = TemplateOwner(row[1], row[2], row[3], row[4] is not None)
    return found
