"""A tier that could not follow the ledger is not called in step, whatever kept it from following."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from core.domain.errors import Unavailable
from core.domain.templates import Change
from core.store.sync.projection import Projection
from core.store.tiers.faiss.candidate_index import IndexOptions
from core.store.tiers.faiss.tier import HotOptions, HotTier
from tests.unit.store.kit import DIMENSION, MemoryFeed, faces

UNREADABLE = Unavailable("ledger_unavailable", "The ledger cannot be used (SQLITE_IOERR).")


class MoodyFeed(MemoryFeed):
    """Fails as it is told to."""

    mood: Exception | None = None

    def changes(self, after: int, limit: int) -> Sequence[Change]:
        if self.mood is not None:
            raise self.mood
        return super().changes(after, limit)


@pytest.mark.parametrize("mood", [UNREADABLE, MemoryError(), RuntimeError("unforeseen")], ids=repr)
def test_a_tier_that_could_not_follow_is_not_in_step(mood: Exception) -> None:
    feed = MoodyFeed()
    projection = Projection(HotTier(feed, DIMENSION, HotOptions(IndexOptions(), 1000)), feed)
    projection.catch_up()
    assert projection.in_step
    _, seq = feed.enroll("ana", faces(np.random.default_rng(1), 1, 2)[0])
    feed.mood = mood
    assert not projection.reach(seq, 5.0)
    assert not projection.in_step
    assert not projection.down, "it can be asked: what it has is right"
    assert projection.error
    feed.mood = None
    projection.catch_up()
    assert projection.in_step
    assert projection.error is None


def test_a_committed_change_does_not_fail_for_want_of_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = MemoryFeed()
    projection = Projection(HotTier(feed, DIMENSION, HotOptions(IndexOptions(), 1000)), feed)
    projection.catch_up()
    _, seq = feed.enroll("ana", faces(np.random.default_rng(1), 1, 2)[0])

    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        assert not projection.reach(seq, 5.0)
    assert not projection.in_step
    assert projection.wake.is_set(), "the follower applies it"
    projection.catch_up()
    assert projection.reach(seq, 5.0)


def test_memory_that_ends_while_a_table_grows_loses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = MemoryFeed(people_before=1023)  # the next person's number is a table's length
    hot = HotTier(feed, DIMENSION, HotOptions(IndexOptions(), 10_000))
    projection = Projection(hot, feed)
    projection.catch_up()
    face = faces(np.random.default_rng(1), 1, 1)[0]
    (number,), seq = feed.enroll("ana", face)

    zeros = np.zeros

    def scarce(size: int, dtype: type) -> object:
        if size > 1024:
            raise MemoryError
        return zeros(size, dtype)

    with monkeypatch.context() as patch:
        patch.setattr(np, "zeros", scarce)
        projection.reach(seq, 5.0)
        assert not hot.complete or not projection.in_step, "somebody is missing, and it is said"
    projection.catch_up()
    assert [hit.template_id for hit in hot.search(face, 5)[0]] == [number]
