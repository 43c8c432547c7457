"""Decisions reach the ledger in batches; a ledger that cannot write only delays them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from core.domain.faces import PackInfo
from core.ledger.journal import Journal
from core.ledger.ledger import Ledger
from core.ledger.opening import Place
from tests.ledger_faults import locked


@pytest.fixture
def ledger(place: Place) -> Iterator[Ledger]:
    opened = Ledger.open(place, PackInfo("open", "ab" * 32, 4, "test"))
    yield opened
    opened.close()


@pytest.fixture
def journal(ledger: Ledger) -> Iterator[Journal]:
    opened = Journal(ledger.events, most_waiting=10)
    opened.start()
    yield opened
    opened.close()


def similarities(ledger: Ledger) -> list[int]:
    return [event.detail["similarity"] for event in ledger.events.listing(limit=500).items][::-1]


def test_what_cannot_be_written_now_is_written_later_in_its_order(
    ledger: Ledger, journal: Journal, place: Place
) -> None:
    with locked(ledger, place):
        for number in range(3):
            journal.decided(user_id=None, matched=False, detail={"similarity": number})
            journal.flush()
        assert similarities(ledger) == []
    journal.flush()
    assert similarities(ledger) == [0, 1, 2]


def test_only_so_many_wait_and_the_newest_are_kept(ledger: Ledger, journal: Journal, place: Place) -> None:
    with locked(ledger, place):
        for number in range(25):
            journal.decided(user_id=None, matched=False, detail={"similarity": number})
    journal.flush()
    kept = similarities(ledger)
    assert kept == list(range(25 - len(kept), 25))
    assert len(kept) <= 11


def test_whoever_checks_a_face_does_not_wait_for_a_ledger_that_refuses(
    ledger: Ledger, journal: Journal, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    record = ledger.events.record

    def counted(*arguments: Any, **options: Any) -> None:
        tried.append(threading.current_thread().name)
        record(*arguments, **options)

    monkeypatch.setattr(ledger.events, "record", counted)
    with locked(ledger, place):
        for number in range(50):
            journal.decided(user_id=None, matched=False, detail={"similarity": number})
        assert tried.count(threading.current_thread().name) <= 1
    journal.flush()
    kept = similarities(ledger)
    assert kept == list(range(50 - len(kept), 50))
    assert len(kept) <= 11


def test_an_entry_that_can_never_be_written_does_not_stop_the_next(ledger: Ledger, journal: Journal) -> None:
    journal.decided(user_id=None, matched=False, detail={"similarity": object()})
    journal.flush()
    journal.decided(user_id=None, matched=False, detail={"similarity": 1})
    journal.flush()
    assert similarities(ledger) == [1]
