"""The remembered join is as fresh as the database: what anybody commits, the next search sees."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import numpy as np
import pytest

from core.domain.errors import Unavailable
from core.domain.templates import StoredTemplate
from core.ledger.counts import Counter
from core.ledger.feed import Feed
from core.ledger.ledger import Ledger
from core.ledger.sql import templates
from tests.unit.ledger.conftest import SQLITE, MakeTemplates


def test_a_template_is_read_once(
    ledger: Ledger, make: MakeTemplates, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, second), _ = enroll(ledger, make)
    before = ledger.feed.resolve([first, second])
    monkeypatch.setattr(templates, "by_id", lambda *_: pytest.fail("it was read before"))
    again = ledger.feed.resolve([first, second])
    assert [again[i].name for i in (first, second)] == ["Ana", "Ana"]
    np.testing.assert_array_equal(again[first].vector, before[first].vector)


@pytest.mark.parametrize("writer", ["ledger", "other"])
def test_an_erased_person_is_gone_at_once(
    ledger: Ledger, other: Ledger, make: MakeTemplates, writer: str
) -> None:
    ids, _ = enroll(ledger, make)
    assert set(ledger.feed.resolve(ids)) == set(ids)
    {"ledger": ledger, "other": other}[writer].people.erase("ana")
    assert ledger.feed.resolve(ids) == {}


@pytest.mark.parametrize("writer", ["ledger", "other"])
def test_a_new_name_is_seen_at_once(ledger: Ledger, other: Ledger, make: MakeTemplates, writer: str) -> None:
    ids, _ = enroll(ledger, make)
    ledger.feed.resolve(ids)
    {"ledger": ledger, "other": other}[writer].people.update("ana", name="Ana María")
    assert ledger.feed.resolve(ids)[ids[0]].name == "Ana María"


def test_a_template_enrolled_later_is_found(ledger: Ledger, make: MakeTemplates) -> None:
    ids, _ = enroll(ledger, make)
    assert ledger.feed.resolve([ids[-1] + 1]) == {}
    later = ledger.people.enroll("bo", "Bo", make(1)).template_ids
    assert ledger.feed.resolve(later)[later[0]].user_id == "bo"


def test_no_more_is_remembered_than_there_is_room_for(ledger: Ledger, make: MakeTemplates) -> None:
    feed = Feed(ledger.database, ledger.feed.gallery_id, Counter(), remembered=3)
    ids = [i for n in range(4) for i in ledger.people.enroll(f"remembered-{n}", "P", make(2)).template_ids]
    for start in range(len(ids)):
        wanted = ids[start : start + 3]
        assert set(feed.resolve(wanted)) == set(wanted)
        assert in_memory() <= 3
    assert in_memory() > 0
    ledger.people.update("remembered-0", name="Q")  # whoever commits has it begin anew
    feed.resolve(ids[:1])
    feed.resolve(ids[1:4])  # together they are one too many
    assert in_memory() <= 3
    feed.close()


def in_memory() -> int:
    """How many templates of this test's people the process holds, whoever holds them."""
    gc.collect()
    templates = (one for one in gc.get_objects() if isinstance(one, StoredTemplate))
    return sum(template.user_id.startswith("remembered-") for template in templates)


def test_searches_and_erasures_at_once_never_bring_anybody_back(ledger: Ledger, make: MakeTemplates) -> None:
    people = {f"p{n}": ledger.people.enroll(f"p{n}", "P", make(2)).template_ids for n in range(60)}
    everything = [i for ids in people.values() for i in ids]
    erased: list[int] = []
    wrong: list[int] = []
    ended = threading.Event()

    def search() -> None:
        while not ended.is_set():
            gone = list(erased)
            found = ledger.feed.resolve(everything)
            wrong.extend(i for i in gone if i in found)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for user_id in people:
        erased += ledger.people.erase(user_id).template_ids
    ended.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert ledger.feed.resolve(everything) == {}


def test_a_closed_ledger_says_so(ledger: Ledger, make: MakeTemplates) -> None:
    ids, _ = enroll(ledger, make)
    ledger.feed.resolve(ids)
    ledger.close()
    with pytest.raises(Unavailable):
        ledger.feed.resolve(ids)


def enroll(ledger: Ledger, make: MakeTemplates) -> tuple[tuple[int, ...], int]:
    enrollment = ledger.people.enroll("ana", "Ana", make(2))
    return enrollment.template_ids, enrollment.seq


@SQLITE
def test_a_search_that_comes_while_the_ledger_closes_opens_nothing(
    ledger: Ledger, path: Path, make: MakeTemplates, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, _), _ = enroll(ledger, make)
    close = ledger.database.close

    def searched() -> None:
        with pytest.raises(Unavailable):
            ledger.feed.resolve([first])
        close()

    monkeypatch.setattr(ledger.database, "close", searched)
    ledger.close()
    assert not path.with_name("ledger.db-wal").exists(), "SQLite removes it with the last connection"
