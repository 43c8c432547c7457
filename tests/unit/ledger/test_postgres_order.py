"""On a server commits could overtake each other, and whoever remembers could miss one: neither happens."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest
from pydantic import SecretStr

from core.domain.errors import Unavailable
from core.domain.events import NewEvent
from core.domain.faces import PackInfo
from core.ledger.ledger import Ledger
from core.ledger.sql import events
from tests.ledger_faults import connected, end_connections
from tests.postgres_server import PostgresServer
from tests.unit.ledger.conftest import MakeTemplates


@pytest.fixture
def kind() -> str:
    """Everything here is of a server."""
    return "postgres"


def test_nobody_takes_a_number_while_another_ones_is_not_committed(
    ledger: Ledger, other: Ledger, make: MakeTemplates
) -> None:
    """Two connections, interleaved: the first has its seq and has not committed when the second comes.

    By sequences alone the second would have committed seq 2 by now, a follower would have taken 2 for its
    place, and seq 1 would never have been seen.
    """
    began, may_end = threading.Event(), threading.Event()
    taken: list[tuple[str, int]] = []
    add = events.add

    def slow(connection: object, new: list[NewEvent]) -> None:  # after the seq was given, before the commit
        add(connection, new)  # type: ignore[arg-type]
        if new[0].user_id == "slow":
            began.set()
            may_end.wait(10)

    def enroll(who: Ledger, user_id: str) -> None:
        taken.append((user_id, who.people.enroll(user_id, "P", make()).seq))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "add", slow)
        first = threading.Thread(target=enroll, args=(ledger, "slow"))
        first.start()
        assert began.wait(10)
        second = threading.Thread(target=enroll, args=(other, "quick"))
        second.start()
        time.sleep(0.3)
        assert other.feed.head() == 0, "a seq was committed while a smaller one was not"
        may_end.set()
        first.join()
        second.join()
    assert taken == [("slow", 1), ("quick", 2)]
    assert [change.seq for change in ledger.feed.changes(0, 10)] == [1, 2]


def test_sequences_alone_would_lose_a_change(ledger: Ledger, place: SecretStr) -> None:
    """What the lock is for: without it a smaller number appears after a larger one."""
    row = "INSERT INTO changes (kind, template_id, person_id, at) VALUES ('put', 1, 1, now())"
    with closing(connected(place)) as one, closing(connected(place)) as two:
        one.execute("BEGIN")
        one.execute(row)
        two.execute(row)
        followed = [change.seq for change in ledger.feed.changes(0, 10)]
        one.execute("COMMIT")
    assert followed == [2]
    assert [change.seq for change in ledger.feed.changes(2, 10)] == []  # 1 is there now, and passed over


def test_whoever_follows_is_woken_by_another_ones_commit(
    ledger: Ledger, other: Ledger, make: MakeTemplates
) -> None:
    woken = threading.Event()
    ledger.feed.when_others_commit(woken.set)
    assert woken.wait(5), "it is told when it begins to listen"
    for number in range(3):
        woken.clear()
        other.people.enroll(f"p{number}", "P", make())
        began = time.monotonic()
        assert woken.wait(5)
        assert time.monotonic() - began < 0.5


def test_it_listens_again_after_the_connection_was_lost(
    ledger: Ledger, other: Ledger, make: MakeTemplates, place: SecretStr
) -> None:
    woken = threading.Event()
    ledger.feed.when_others_commit(woken.set)
    assert woken.wait(5)
    woken.clear()
    end_connections(place)
    assert woken.wait(5), "it is told once more, for what it missed"
    woken.clear()
    other.people.enroll("ana", "Ana", make())
    assert woken.wait(5)


@pytest.mark.parametrize("how", ["erased", "renamed"])
def test_what_was_remembered_is_not_answered_from_the_moment_another_one_returned(
    ledger: Ledger, other: Ledger, make: MakeTemplates, how: str
) -> None:
    for number in range(50):
        ids = ledger.people.enroll(f"p{number}", "P", make(2)).template_ids
        assert set(ledger.feed.resolve(ids)) == set(ids)
        if how == "erased":
            other.people.erase(f"p{number}")
            assert ledger.feed.resolve(ids) == {}
        else:
            other.people.update(f"p{number}", name="Q")
            assert {one.name for one in ledger.feed.resolve(ids).values()} == {"Q"}


def test_nothing_is_remembered_over_a_restart_of_the_server(
    own_server: PostgresServer, pack: PackInfo, make: MakeTemplates
) -> None:
    place = own_server.database()
    with closing(Ledger.open(place, pack)) as ledger:
        ids = ledger.people.enroll("ana", "Ana", make()).template_ids
        assert ledger.feed.resolve(ids)
        own_server.stop()
        with pytest.raises(Unavailable) as refused:
            ledger.feed.resolve(ids)
        assert refused.value.code == "ledger_unreachable"
        own_server.start()
        with closing(connected(place)) as elsewhere:  # as on a standby that took over
            elsewhere.execute("DELETE FROM templates")
        assert ledger.feed.resolve(ids) == {}
