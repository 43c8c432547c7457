from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from core.domain.faces import PackInfo
from core.domain.people import GalleryCounts
from core.domain.templates import ChangeKind
from core.ledger.ledger import Ledger
from core.ledger.opening import Place

if TYPE_CHECKING:
    from tests.unit.ledger.conftest import MakeTemplates


def test_the_feed_tells_every_change_in_order(ledger: Ledger, make: MakeTemplates) -> None:
    assert ledger.feed.head() == 0
    assert list(ledger.feed.changes(0, 10)) == []
    first, second = make(2), make(1)
    ledger.people.enroll("ana", "Ana", first)
    ledger.people.enroll("bea", "Bea", second)
    told = ledger.feed.changes(0, 10)
    assert [(c.seq, c.kind, c.template_id, c.person) for c in told] == [
        (1, ChangeKind.PUT, 1, 1),
        (2, ChangeKind.PUT, 2, 1),
        (3, ChangeKind.PUT, 3, 2),
    ]
    for change, template in zip(told, first + second, strict=True):
        np.testing.assert_array_equal(change.vector, template.vector)
    assert [change.seq for change in ledger.feed.changes(1, 1)] == [2]
    assert ledger.feed.head() == 3


def test_an_erased_put_comes_without_its_vector(ledger: Ledger, make: MakeTemplates) -> None:
    ledger.people.enroll("ana", "Ana", make(2))
    erasure = ledger.people.erase("ana")
    assert (erasure.user_id, erasure.name, erasure.template_ids, erasure.seq) == ("ana", "Ana", (1, 2), 4)
    told = ledger.feed.changes(0, 10)
    assert [change.kind for change in told] == [ChangeKind.PUT] * 2 + [ChangeKind.DROP] * 2
    assert [change.template_id for change in told] == [1, 2, 1, 2]
    assert all(change.vector is None for change in told)


def test_numbers_are_never_given_twice(place: Place, pack: PackInfo, make: MakeTemplates) -> None:
    for number in range(1, 4):
        ledger = Ledger.open(place, pack)
        assert ledger.people.enroll("ana", "Ana", make()).template_ids == (number,)
        assert ledger.people.templates("ana")[0].person == number
        assert ledger.people.erase("ana").seq == 2 * number
        ledger.close()


def test_resolve_joins_and_leaves_out_the_erased(ledger: Ledger, make: MakeTemplates) -> None:
    ledger.people.enroll("ana", "Ana", make(2))
    (bea,) = new = make(1)
    ledger.people.enroll("bea", "Bea", new)
    ledger.people.erase("ana")
    found = ledger.feed.resolve([1, 2, 3, 999])
    assert set(found) == {3}
    assert (found[3].user_id, found[3].name, found[3].person) == ("bea", "Bea", 2)
    np.testing.assert_array_equal(found[3].vector, bea.vector)
    assert found[3].vector.dtype == np.float32
    assert ledger.feed.resolve([]) == {}
    assert set(ledger.feed.resolve(range(100_000))) == {3}
    assert set(ledger.feed.resolve({np.int64(3)})) == {3}


def test_templates_of_people(ledger: Ledger, make: MakeTemplates) -> None:
    for name in ("ana", "bea", "eva"):
        ledger.people.enroll(name, name, make(2))
    assert [t.template_id for t in ledger.feed.templates_of([1, 3])] == [1, 2, 5, 6]
    assert list(ledger.feed.templates_of([])) == []


def test_hot_set_takes_whole_people_most_recently_active_first(ledger: Ledger, make: MakeTemplates) -> None:
    for name in ("ana", "bea", "eva"):
        ledger.people.enroll(name, name, make(2))
    ledger.events.record([], matched={"ana": datetime.now(UTC) + timedelta(hours=1)})

    def chosen(limit: int) -> list[str]:
        hot = ledger.feed.hot_set(limit)
        found = ledger.feed.resolve(hot.ids.tolist())
        for template_id, person, vector in zip(hot.ids, hot.persons, hot.vectors, strict=True):
            assert (found[template_id].person, found[template_id].vector.tolist()) == (
                person,
                vector.tolist(),
            )
        return [found[template_id].user_id for template_id in hot.ids]

    assert chosen(6) == chosen(100) == ["ana", "ana", "eva", "eva", "bea", "bea"]
    assert chosen(5) == chosen(4) == ["ana", "ana", "eva", "eva"]
    assert chosen(1) == []
    assert (ledger.feed.hot_set(1).seq, ledger.feed.hot_set(1).gallery) == (6, 6)
    ledger.people.add_templates("bea", make(1))
    assert chosen(5) == ["ana", "ana", "bea", "bea", "bea"]


def test_hot_set_leaves_room_and_tells_how_far_it_is(ledger: Ledger, make: MakeTemplates) -> None:
    for number in range(3):
        ledger.people.enroll(f"u{number}", "Ana", make(3))
    told: list[float] = []
    hot = ledger.feed.hot_set(8, spare=5, progress=told.append)
    assert (hot.count, hot.gallery) == (6, 9)
    assert len(hot.ids) == len(hot.persons) == len(hot.vectors) == 11
    assert told == [1.0]


def test_hot_set_and_seq_are_of_the_same_moment(ledger: Ledger, make: MakeTemplates) -> None:
    """While another thread enrolls, each template has one change, so the two numbers must always agree."""
    done = threading.Event()

    def enroll() -> None:
        for number in range(60):
            ledger.people.enroll(f"u{number}", "Ana", make(2))
        done.set()

    writer = threading.Thread(target=enroll)
    writer.start()
    looked = 0
    while not done.is_set() or looked == 0:
        hot = ledger.feed.hot_set(1_000)
        assert hot.seq == hot.count == len(hot.ids) == hot.gallery
        looked += 1
    writer.join()
    assert ledger.feed.hot_set(1_000).seq == 120


def test_counts_follow_every_change(ledger: Ledger, make: MakeTemplates) -> None:
    assert ledger.feed.counts() == GalleryCounts(0, 0)
    ledger.people.enroll("ana", "Ana", make(2))
    assert ledger.feed.counts() == GalleryCounts(1, 2)
    ledger.people.enroll("bea", "Bea", make(1))
    assert ledger.feed.counts() == GalleryCounts(2, 3)
    ledger.people.erase("ana")
    assert ledger.feed.counts() == GalleryCounts(1, 1)


def test_template_ids_are_those_that_live_and_of_one_moment(ledger: Ledger, make: MakeTemplates) -> None:
    seq, ids = ledger.feed.template_ids()
    assert (seq, ids.tolist(), ids.dtype) == (0, [], np.int64)
    ledger.people.enroll("ana", "Ana", make(2))
    ledger.people.enroll("bea", "Bea", make(3))
    ledger.people.erase("ana")
    seq, ids = ledger.feed.template_ids()
    assert (seq, sorted(ids.tolist())) == (7, [3, 4, 5])


def test_many_threads_enroll_and_read_at_once(ledger: Ledger, make: MakeTemplates) -> None:
    given = [make(1) for _ in range(40)]
    failures: list[BaseException] = []

    def work(part: int) -> None:
        try:
            for number in range(part, 40, 4):
                done = ledger.people.enroll(f"u{number}", "Ana", given[number])
                assert ledger.feed.resolve(done.template_ids)[done.template_ids[0]].user_id == f"u{number}"
                assert ledger.feed.head() >= done.seq
        except BaseException as problem:  # noqa: BLE001 -- told to the main thread
            failures.append(problem)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [change.seq for change in ledger.feed.changes(0, 100)] == list(range(1, 41))
    assert ledger.feed.counts() == GalleryCounts(40, 40)


def test_two_ledgers_on_one_place_keep_one_order(place: Place, pack: PackInfo, make: MakeTemplates) -> None:
    """A second connection stands for a second process: only the database is shared."""
    first, second = Ledger.open(place, pack), Ledger.open(place, pack)
    seen: list[int] = []

    def follow() -> None:
        while len(seen) < 40:
            seen.extend(c.seq for c in second.feed.changes(seen[-1] if seen else 0, 100))

    def write(ledger: Ledger, tag: str) -> None:
        for number in range(20):
            ledger.people.enroll(f"{tag}{number}", "Ana", make())

    threads = [
        threading.Thread(target=write, args=(first, "a")),
        threading.Thread(target=write, args=(second, "b")),
        threading.Thread(target=follow),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == list(range(1, 41))  # a follower that takes what it sees misses nothing
    first.close()
    second.close()
