"""How SQLite goes about the ledger's readings: by an index, however large gallery and record are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from core.ledger.ledger import Ledger

if TYPE_CHECKING:
    from tests.unit.ledger.conftest import MakeTemplates

Read = Callable[[Ledger], object]
PAGES: dict[str, Read] = {
    "events": lambda ledger: ledger.events.listing(),
    "events, next page": lambda ledger: ledger.events.listing(
        limit=1, cursor=ledger.events.listing(limit=1).next
    ),
    "events of a kind": lambda ledger: ledger.events.listing(kind="enrolled"),
    "events of a kind, next page": lambda ledger: ledger.events.listing(
        limit=1, kind="enrolled", cursor=ledger.events.listing(limit=1, kind="enrolled").next
    ),
    "events of a person": lambda ledger: ledger.events.listing(user_id="u1"),
    "events of a kind and a person": lambda ledger: ledger.events.listing(user_id="u1", kind="enrolled"),
    "decisions": lambda ledger: ledger.events.decisions(datetime.now(UTC), 10),
    "decisions counted": lambda ledger: ledger.events.count("verified", datetime.now(UTC)),
    "people": lambda ledger: ledger.people.listing(limit=1),
    "people, next page": lambda ledger: ledger.people.listing(
        limit=1, cursor=ledger.people.listing(limit=1).next
    ),
    "a person": lambda ledger: (
        ledger.people.one("u1"),
        ledger.people.templates("u1"),
        ledger.people.template_infos("u1"),
    ),
    "the hot set": lambda ledger: ledger.feed.hot_set(2),
    "templates": lambda ledger: list(ledger.feed.blocks()),
    "changes": lambda ledger: (ledger.feed.head(), ledger.feed.changes(1, 10)),
    "the join": lambda ledger: ledger.feed.resolve([1, 2]),
}


@pytest.fixture
def kind() -> str:
    """The plans are SQLite's."""
    return "sqlite"


@pytest.fixture
def plans(ledger: Ledger, make: MakeTemplates) -> Iterator[list[str]]:
    """The plans of the statements that SQLAlchemy has run since; each says how one table is read."""
    for number in range(3):
        ledger.people.enroll(f"u{number}", f"Name {number}", make(2))
    found: list[str] = []

    def explain(_connection: Any, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith("SELECT"):
            rows = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            found.extend(row[3] for row in rows)

    with ledger.database.write() as connection:  # no reader yet: they are listened to from their beginning
        engine = connection.engine
    event.listen(engine, "before_cursor_execute", explain)
    yield found
    event.remove(engine, "before_cursor_execute", explain)


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_sorted_to_show_a_part_of_it(ledger: Ledger, plans: list[str], page: str) -> None:
    PAGES[page](ledger)
    assert not [step for step in plans if "TEMP B-TREE" in step]


def test_turning_the_pages_of_people_counts_them_once(ledger: Ledger, plans: list[str]) -> None:
    page = ledger.people.listing(limit=1)
    assert page.total == 3
    plans.clear()
    assert ledger.people.listing(limit=1, cursor=page.next).total == 3
    assert not [step for step in plans if step.startswith("SCAN")]
    ledger.people.erase("u1")
    assert ledger.people.listing(limit=1).total == 2


def test_a_search_for_people_reads_one_index_alone_to_count_them(ledger: Ledger, plans: list[str]) -> None:
    assert ledger.people.listing(query="name 1").total == 1
    assert "SCAN people USING COVERING INDEX ix_people_search_key_user_id" in plans


def test_namesakes_are_found_by_an_index(ledger: Ledger, plans: list[str]) -> None:
    assert ledger.people.namesakes("name 1") == (("u1", "Name 1"),)
    assert ledger.people.sharing_names(["u1", "u2"]) == frozenset()
    assert not [step for step in plans if step.startswith("SCAN")]


def test_one_persons_events_are_read_by_that_persons_index(ledger: Ledger, plans: list[str]) -> None:
    PAGES["events of a kind and a person"](ledger)
    assert {step.partition(" (")[0] for step in plans if "people" not in step} == {
        "SEARCH events USING INDEX ix_events_user_id",
        "SEARCH events USING INDEX ix_events_kind",  # the few that ended a name
    }
