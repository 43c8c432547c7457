"""The server tier over real sockets: whatever state the server is in has a name, costs little, and passes."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from core.store.contract import TierDown, Unwritable, differs
from core.store.sync.follower import Follower
from core.store.sync.projection import Projection
from core.store.tiers.server.tier import QdrantServerTier
from tests.qdrant_double import QdrantDouble
from tests.unit.store.kit import MemoryFeed, eventually, faces
from tests.unit.store.server_kit import MakeTier, catch_up, equal, make_tier, server, tier

__all__ = ["make_tier", "server", "tier"]  # fixtures


@pytest.fixture
def probe(feed: MemoryFeed) -> np.ndarray:
    return faces(np.random.default_rng(6), 1, 1)[0]


def errors(tier: QdrantServerTier) -> dict[str, int]:
    found: dict[str, int] = tier.info()["errors_by_kind"]
    return found


def test_a_closed_port_is_named_and_tried_again_a_few_times_only(
    server: QdrantDouble, make_tier: MakeTier
) -> None:
    server.stop()
    away = make_tier(pace=60.0)
    with pytest.raises(TierDown, match="cannot be reached"):
        away.open()
    assert away.info()["points"] is None
    assert errors(away) == {"unavailable": 3}, "three for opening it, none for asking how it is"
    assert away.info()["circuit"]["state"] == "open"


def test_a_server_that_hangs_costs_one_deadline_and_then_nothing(
    server: QdrantDouble, tier: QdrantServerTier, make_tier: MakeTier, probe: np.ndarray
) -> None:
    impatient = make_tier(qdrant_timeout_seconds=1)
    impatient.open()
    server.faults.hanging = True
    server.faults.calls.clear()
    for _ in range(10):
        with pytest.raises(TierDown, match="in time"):
            impatient.search(probe, 3)
    assert server.faults.calls["QueryBatch"] == 1
    assert impatient.info()["circuit"]["state"] == "open"


def test_searches_that_wait_for_one_that_hangs_cost_one_deadline_together(
    server: QdrantDouble, tier: QdrantServerTier, make_tier: MakeTier, probe: np.ndarray
) -> None:
    """The next in the queue has waited already while the first one did."""
    impatient = make_tier(qdrant_timeout_seconds=1)
    impatient.open()
    server.faults.hanging = True
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(TierDown):
            impatient.search(probe, 3)
    assert time.monotonic() - started < 1.9


@pytest.mark.usefixtures("tier")
def test_a_server_that_is_away_is_asked_by_its_watch_alone_and_used_again_once_that_has_found_it(
    server: QdrantDouble, make_tier: MakeTier, feed: MemoryFeed, probe: np.ndarray
) -> None:
    tier = make_tier()
    catch_up(tier, feed)
    server.faults.unavailable = 10**6
    with pytest.raises(TierDown):
        tier.search(probe, 3)
    assert eventually(lambda: tier.info()["circuit"]["state"] == "open")
    server.faults.calls.clear()
    with pytest.raises(TierDown, match="gRPC port"):
        tier.search(probe, 3)
    assert eventually(lambda: server.faults.calls["CollectionExists"] > 1)
    assert server.faults.calls["QueryBatch"] == 0
    server.faults.unavailable = 0
    assert eventually(lambda: tier.info()["circuit"]["state"] == "closed")
    assert len(tier.search(probe, 3)[0]) == 3


def test_what_cannot_be_written_to_goes_on_answering_searches(
    server: QdrantDouble, make_tier: MakeTier, feed: MemoryFeed, probe: np.ndarray
) -> None:
    """As a node does that waits for a replica which hangs."""
    tier = make_tier(qdrant_timeout_seconds=1, pace=0.5)
    projection = Projection(tier, feed, audit=differs)
    projection.catch_up()
    go_on = threading.Event()
    server.faults.gate = lambda method, _: go_on.wait(20) if method == "Upsert" else None
    feed.enroll("new", probe)
    with pytest.raises(Unwritable, match="takes no changes"):
        projection.catch_up()
    assert tier.info()["write_circuit"]["state"] == "open"
    assert not projection.ok
    assert not projection.down
    before = server.faults.calls["Upsert"]
    for _ in range(20):
        assert tier.search(probe, 3) == [[]]
        with pytest.raises(TierDown):
            projection.catch_up()
    assert not projection.down
    assert server.faults.calls["Upsert"] <= before + 1, "writes are tried once a while"
    go_on.set()
    server.faults.gate = None
    assert eventually(lambda: caught_up(projection))
    assert tier.search(probe, 1)[0][0].similarity == pytest.approx(1.0, abs=1e-5)


def caught_up(projection: Projection) -> bool:
    try:
        projection.catch_up()
    except TierDown:
        return False
    return projection.in_step


def test_a_passing_failure_is_not_noticed_by_a_search(
    server: QdrantDouble, tier: QdrantServerTier, probe: np.ndarray
) -> None:
    server.faults.unavailable = 2
    assert len(tier.search(probe, 3)[0]) == 3
    assert tier.info()["retries"] == 2
    assert errors(tier) == {"unavailable": 2}
    assert tier.info()["circuit"]["state"] == "closed"


def test_whichever_call_fails_the_next_round_completes_it(
    make_tier: MakeTier, feed: MemoryFeed, server: QdrantDouble
) -> None:
    feed.enroll("ana", faces(np.random.default_rng(1), 1, 3)[0])
    feed.enroll("ben", faces(np.random.default_rng(2), 1, 2)[0])
    feed.erase("ben")
    failed = 0
    for nth in range(1, 50):
        fresh = make_tier(qdrant_collection=f"nth{nth}")
        server.faults.fail_call = nth
        try:
            catch_up(fresh, feed)
        except TierDown:
            failed += 1
            server.faults.fail_call = None
            catch_up(fresh, feed)
        clean = server.faults.fail_call is not None and server.faults.fail_call > 0
        server.faults.fail_call = None
        assert fresh.seq == feed.head()
        assert differs(fresh, feed) is None
        if clean:
            break
    else:
        pytest.fail("no round without a failure")
    assert failed > 5


def test_an_acknowledged_change_is_not_a_completed_one(
    server: QdrantDouble, tier: QdrantServerTier, feed: MemoryFeed
) -> None:
    feed.enroll("new", faces(np.random.default_rng(8), 1, 1)[0])
    before = tier.seq
    server.faults.unfinished = True
    with pytest.raises(TierDown, match="not finished"):
        catch_up(tier, feed)
    assert tier.seq == before
    assert errors(tier)["unfinished"] >= 1
    server.faults.unfinished = False
    catch_up(tier, feed)
    assert tier.seq == feed.head()


def test_data_lost_behind_an_idle_tier_are_noticed_by_its_ping_and_restored(
    server: QdrantDouble, tier: QdrantServerTier, feed: MemoryFeed
) -> None:
    tier.ping()
    server.stop()
    server.lose_data()
    server.start()
    with pytest.raises(TierDown):
        tier.ping()
    catch_up(tier, feed)
    assert equal(tier, feed)
    tier.ping()


def test_points_are_counted_again_only_after_a_change_or_a_while(
    server: QdrantDouble, tier: QdrantServerTier, feed: MemoryFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults.calls.clear()
    assert [tier.count() for _ in range(3)] == [20] * 3
    assert server.faults.calls["Count"] == 1
    feed.erase("p1")
    catch_up(tier, feed)
    assert tier.count() == 18
    monkeypatch.setattr("core.store.tiers.server.tier.COUNT_SECONDS", 0.0)
    assert tier.count() == 18
    assert server.faults.calls["Count"] == 3


def test_a_write_to_a_server_that_is_away_is_not_tried_twice(
    server: QdrantDouble, tier: QdrantServerTier, feed: MemoryFeed
) -> None:
    feed.enroll("new", faces(np.random.default_rng(8), 1, 1)[0])
    server.faults.calls.clear()
    server.faults.unavailable = 100
    with pytest.raises(TierDown):
        catch_up(tier, feed)
    assert server.faults.calls["Upsert"] == 3, "three attempts of one write"


def test_a_ping_counts_nothing(server: QdrantDouble, tier: QdrantServerTier) -> None:
    server.faults.calls.clear()
    tier.ping()
    assert not {"Count", "Scroll", "QueryBatch"} & set(server.faults.calls)


@pytest.mark.parametrize("disk", ["kept", "lost"])
def test_after_an_outage_the_follower_heals_what_was_missed(
    server: QdrantDouble, tier: QdrantServerTier, feed: MemoryFeed, probe: np.ndarray, disk: str
) -> None:
    projection = Projection(tier, feed, audit=differs)
    follower = Follower(projection)
    follower.start()
    try:
        assert eventually(lambda: projection.in_step)
        server.stop()
        with pytest.raises(TierDown) as lost:
            tier.search(probe, 3)
        projection.fail(lost.value)
        erased, _ = feed.erase("p3")
        _, seq = feed.enroll("new", probe)
        assert not projection.reach(seq, 1.0)
        assert projection.down
        if disk == "lost":
            server.lose_data()
        server.start()
        assert eventually(lambda: projection.in_step and tier.seq == seq)
        assert equal(tier, feed)
        assert tier.held(erased) == {}
        assert tier.search(probe, 1)[0][0].similarity == pytest.approx(1.0, abs=1e-5)
    finally:
        follower.close()


def test_while_the_server_is_away_questions_about_it_are_answered_at_once(
    server: QdrantDouble, make_tier: MakeTier, feed: MemoryFeed
) -> None:
    impatient = make_tier(qdrant_timeout_seconds=1, pace=60.0)  # on a slow machine, too
    impatient.open()
    server.faults.hanging = True
    impatient.info()
    assert eventually(lambda: server.faults.calls["CollectionExists"] > 0)
    server.faults.calls.clear()
    for _ in range(50):
        assert impatient.info()["circuit"]["state"] == "open"
    assert server.faults.calls.total() == 0
