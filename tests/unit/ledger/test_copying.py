"""A ledger that is carried from one database to the other, and back, is the same one."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from core.domain.errors import StartError, Unavailable
from core.domain.events import NewEvent
from core.domain.faces import PackInfo
from core.ledger import copying
from core.ledger.copying import Progress, copy
from core.ledger.ledger import Ledger
from core.ledger.opening import Place, open_database
from tests.ledger_faults import connected
from tests.postgres_server import PostgresServer
from tests.unit.ledger.conftest import MakeTemplates

STRANGE = {"deep": {"list": [1, 2.5, None, True, "ä\n\\u0041"]}, "big": 2**52}


@pytest.fixture(params=["to PostgreSQL", "to SQLite"])
def places(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> tuple[Place, Place]:
    """Where it is, and where it goes."""
    both = (tmp_path / "data" / "ledger.db", postgres.database())
    return both if request.param == "to PostgreSQL" else both[::-1]


@pytest.fixture
def source(places: tuple[Place, Place], pack: PackInfo, make: MakeTemplates) -> Place:
    """A ledger with something of everything in it, closed."""
    with closing(Ledger.open(places[0], pack)) as ledger:
        for number in range(30):
            ledger.people.enroll(
                f"p{number}", f"Łukasz {number}", make(2, thumbnail=b"\0jpeg"), metadata=STRANGE
            )
        ledger.people.update("p3", name="Other")
        ledger.people.merge("p4", "p5")
        ledger.people.erase("p29")  # the last numbers are given, and gone
        ledger.pairs.put("p1", "p2", 0.07)
        ledger.runs.add(datetime.now(UTC), "run", {"a": 1}, STRANGE)
        ledger.tunings.add({"threshold": 0.5}, "why", {})
        ledger.history.add({60: {"n": 1}}, lambda one, _other: one, 120)
        now = datetime.now(UTC)
        ledger.events.record(
            [NewEvent(now, "verified", "p1", {"similarity": 0.1 + 0.2})], matched={"p1": now}
        )
    return places[0]


def carried(source: Place, target: Place, progress: Progress = lambda _table, _rows: None) -> dict[str, int]:
    with closing(open_database(source)) as there, closing(open_database(target)) as here:
        return dict(copy(there, here, progress))


def said(place: Place, pack: PackInfo) -> object:
    """All that a ledger tells of itself."""
    with closing(Ledger.open(place, pack)) as ledger:
        return (
            ledger.feed.gallery_id,
            ledger.people.listing(limit=500),
            ledger.events.listing(limit=500),
            [(c.seq, c.kind, c.template_id, c.person) for c in ledger.feed.changes(0, 1000)],
            {
                i: (t.user_id, t.vector.tobytes(), t.vouched)
                for i, t in ledger.feed.resolve(range(99)).items()
            },
            [ledger.people.template_infos(f"p{n}") for n in range(30)],
            ledger.feed.hot_set(100).ids.tolist(),
            (ledger.pairs.all(), ledger.runs.all(), ledger.runs.one(1), ledger.tunings.latest()),
            ledger.history.read(60, 0, 1000),
        )


def test_it_says_the_same_and_gives_no_number_twice(
    places: tuple[Place, Place], source: Place, pack: PackInfo, make: MakeTemplates
) -> None:
    rows = carried(source, places[1])
    assert (rows["people"], rows["gallery"]) == (28, 1)
    assert said(places[1], pack) == said(source, pack)
    with closing(Ledger.open(source, pack)) as old, closing(Ledger.open(places[1], pack)) as new:
        one, other = (ledger.people.enroll("new", "New", make()) for ledger in (old, new))
        assert (one.template_ids, one.seq) == (other.template_ids, other.seq)
        assert old.people.templates("new")[0].person == new.people.templates("new")[0].person


def test_a_copy_that_was_cut_off_is_opened_by_nobody_and_taken_up_where_it_ended(
    places: tuple[Place, Place], source: Place, pack: PackInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_ROWS_AT_ONCE", 7)
    total = sum(carried_rows(source).values())
    told: list[tuple[str, int]] = []

    def cut(table: str, rows: int) -> None:
        told.append((table, rows))
        if len(told) % 3 == 0:
            raise KeyboardInterrupt

    attempts = 0
    while True:
        attempts += 1
        try:
            rows = carried(source, places[1], cut)
            break
        except KeyboardInterrupt:
            with pytest.raises(StartError) as refused:
                Ledger.open(places[1], pack)
            assert refused.value.code == "ledger_unfinished"
    assert attempts > 3
    assert sum(rows.values()) == total
    assert len(told) == len(set(told)), "nothing is copied twice"
    assert said(places[1], pack) == said(source, pack)


def carried_rows(source: Place) -> dict[str, int]:
    with closing(open_database(source)) as there, there.read() as connection:
        return {
            table.name: connection.execute(text(f"SELECT count(*) FROM {table.name}")).scalar_one()
            for table in copying.metadata.sorted_tables
        }


def test_a_person_erased_between_two_attempts_does_not_come_along(
    places: tuple[Place, Place], source: Place, pack: PackInfo
) -> None:
    def cut(table: str, _rows: int) -> None:
        if table == "templates":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carried(source, places[1], cut)
    with closing(Ledger.open(source, pack)) as ledger:
        ledger.people.erase("p7")
    with pytest.raises(StartError) as refused:
        carried(source, places[1])
    assert refused.value.code == "ledger_not_empty"
    with pytest.raises(StartError):
        Ledger.open(places[1], pack)


def test_another_ledger_is_not_written_over(
    places: tuple[Place, Place], source: Place, pack: PackInfo, make: MakeTemplates
) -> None:
    with closing(Ledger.open(places[1], pack)) as other:
        other.people.enroll("eva", "Eva", make())
    with pytest.raises(StartError) as refused:
        carried(source, places[1])
    assert refused.value.code == "ledger_not_empty"
    with closing(Ledger.open(places[1], pack)) as other:
        assert other.people.one("eva").templates == 1


def test_nobody_writes_to_the_source_meanwhile(
    places: tuple[Place, Place], source: Place, pack: PackInfo, make: MakeTemplates
) -> None:
    refused: list[str] = []
    with closing(Ledger.open(source, pack)) as robi:
        with robi.database.write() as connection:
            postgres = connection.dialect.name == "postgresql"
            connection.exec_driver_sql("SET lock_timeout = 10" if postgres else "PRAGMA busy_timeout=10")

        def enroll(table: str, _rows: int) -> None:
            if table == "people":
                with pytest.raises(Unavailable) as problem:
                    robi.people.enroll("late", "Late", make())
                refused.append(problem.value.code)

        carried(source, places[1], enroll)
    assert refused == ["ledger_unavailable"]


def test_a_row_that_differs_is_found(places: tuple[Place, Place], source: Place, pack: PackInfo) -> None:
    def spoil(table: str, _rows: int) -> None:
        if table == "templates":
            with closing(connected(places[1])) as other:
                other.execute("UPDATE people SET name = 'Somebody' WHERE user_id = 'p1'")

    with pytest.raises(StartError):
        carried(source, places[1], spoil)
    with pytest.raises(StartError) as refused:
        Ledger.open(places[1], pack)
    assert refused.value.code == "ledger_unfinished"
