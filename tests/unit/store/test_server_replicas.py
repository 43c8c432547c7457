"""Two processes on one ledger and one collection: what crosses, comes late or is cut short does no harm."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import numpy as np
import pytest

from core.domain.faces import Embeddings
from core.store.contract import TierDown, differs
from core.store.sync.follower import Follower
from core.store.sync.projection import Projection
from core.store.tiers.server.tier import QdrantServerTier
from tests.qdrant_double import QdrantDouble
from tests.unit.store.kit import MemoryFeed, eventually, faces
from tests.unit.store.server_kit import MakeTier, catch_up, equal, make_tier, server, tier

__all__ = ["make_tier", "server", "tier"]  # fixtures


FACE = faces(np.random.default_rng(9), 1, 1)[0]


def answered(tier: QdrantServerTier, feed: MemoryFeed, probe: Embeddings) -> set[str]:
    """Whom a search names: what the tier finds, joined with the ledger."""
    found = [hit.template_id for hit in tier.search(probe, 50)[0]]
    return {stored.user_id for stored in feed.resolve(found).values()}


def cross(
    server: QdrantDouble,
    first: QdrantServerTier,
    second: QdrantServerTier,
    feed: MemoryFeed,
    *,
    before_marking: bool = False,
) -> int:
    """`first` has read a put with its vector and is held up on the way; `second` puts and drops it meanwhile,
    and then the late upsert arrives. With `before_marking`, the first process ends right after it.

    Returns the template.
    """
    (template_id,), _ = feed.enroll("late", FACE)
    arrived, go_on = threading.Event(), threading.Event()

    def hold(method: str, request: Any) -> None:
        if method == "Upsert" and template_id in [p.id.num for p in request.points] and not arrived.is_set():
            arrived.set()
            assert go_on.wait(20)
            if before_marking:
                server.faults.fail_call = 1  # which is the marker

    def apply() -> None:
        with contextlib.suppress(TierDown):
            first.apply(changes, after=first.seq)

    server.faults.gate = hold
    changes = feed.changes(first.seq, 10)
    late = threading.Thread(target=apply)
    late.start()
    assert arrived.wait(20)
    feed.erase("late")
    catch_up(second, feed)
    assert second.held([template_id]) == {}
    go_on.set()
    late.join()
    return template_id


def test_a_put_that_arrives_after_its_erasure_is_never_answered_and_goes_with_the_next_round(
    server: QdrantDouble, tier: QdrantServerTier, make_tier: MakeTier, feed: MemoryFeed
) -> None:
    other = make_tier()
    catch_up(other, feed)
    template_id = cross(server, tier, other, feed)
    assert set(other.held([template_id])) == {template_id}, "the ghost that this is about"
    for searcher in (tier, other):
        assert "late" not in answered(searcher, feed, FACE)
    catch_up(tier, feed)
    assert other.held([template_id]) == {}
    assert equal(other, feed)


def test_a_ghost_of_a_writer_that_ended_is_noticed_by_the_others_ping(
    server: QdrantDouble, tier: QdrantServerTier, make_tier: MakeTier, feed: MemoryFeed
) -> None:
    other = make_tier()
    catch_up(other, feed)
    template_id = cross(server, tier, other, feed)
    tier.close()  # it has moved the marker back to before the erasure, and applies nothing more
    with pytest.raises(TierDown, match="earlier state"):
        other.ping()
    catch_up(other, feed)
    assert other.held([template_id]) == {}
    assert equal(other, feed)


def test_a_ghost_without_a_trace_is_found_by_comparing_ids(
    server: QdrantDouble, tier: QdrantServerTier, make_tier: MakeTier, feed: MemoryFeed
) -> None:
    other = make_tier()
    catch_up(other, feed)
    template_id = cross(server, tier, other, feed, before_marking=True)
    tier.close()
    other.ping()
    assert "late" not in answered(other, feed, FACE)
    assert set(other.ids().tolist()) - set(feed.template_ids()[1].tolist()) == {template_id}
    assert differs(other, feed) is not None


def test_a_lagging_writer_only_moves_the_marker_back(
    server: QdrantDouble, tier: QdrantServerTier, make_tier: MakeTier, feed: MemoryFeed
) -> None:
    lagging = make_tier()
    tier.clear()
    lagging.open()  # and is held up before its first change
    old = list(feed.changes(0, 100))[:5]
    feed.erase("p0")
    feed.enroll("new", faces(np.random.default_rng(3), 1, 2)[0])
    catch_up(tier, feed)
    lagging.apply(old, after=0)
    assert lagging.seq == 5
    third = make_tier()
    third.open()
    assert third.seq == 5
    for follower in (third, lagging, tier):
        catch_up(follower, feed)
        assert follower.seq == feed.head()
    assert equal(tier, feed)
    tier.ping()


def test_two_processes_keep_one_collection_equal_to_the_ledger(make_tier: MakeTier, feed: MemoryFeed) -> None:
    projections = [Projection(make_tier(), feed, audit=differs) for _ in range(2)]
    followers = [Follower(projection) for projection in projections]
    people = faces(np.random.default_rng(4), 30, 2)

    def work(number: int) -> None:
        """One process: enrolls its people, erases every third, and asks for them through its own tier."""
        mine = projections[number]
        for n in range(number, 30, 2):
            _, seq = feed.enroll(f"w{n}", people[n])
            mine.reach(seq, 5.0)
            if n % 3 == 0:
                _, seq = feed.erase(f"w{n}")
                mine.reach(seq, 5.0)

    for follower in followers:
        follower.start()
    workers = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert eventually(lambda: all(p.in_step and p.tier.seq == feed.head() for p in projections))
        for projection in projections:
            assert isinstance(projection.tier, QdrantServerTier)
            assert eventually(lambda p=projection: equal(p.tier, feed))
            for n in range(30):
                named = answered(projection.tier, feed, people[n][:1])
                assert (f"w{n}" in named) == (n % 3 != 0)
    finally:
        for follower in followers:
            follower.close()


def test_a_rebuild_by_one_process_is_noticed_by_the_other(
    server: QdrantDouble, tier: QdrantServerTier, make_tier: MakeTier, feed: MemoryFeed
) -> None:
    other = make_tier()
    catch_up(other, feed)
    tier.clear()
    with pytest.raises(TierDown, match="earlier state"):
        other.ping()
    catch_up(other, feed)
    assert equal(other, feed)
    catch_up(tier, feed)
    assert equal(tier, feed)
    assert server.faults.calls["Create"] == 2
