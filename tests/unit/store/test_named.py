"""A tier that could not follow the ledger is not called in step, whatever kept it from following."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from core.errors import Unavailable
from core.store.hot import HotOptions, HotTier
from core.store.index import IndexOptions
from core.store.projection import Projection
from core.types import Change
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
