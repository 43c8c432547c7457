"""The drift check: what a tier holds beyond or short of the ledger is found, counted and put right."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from core.domain.faces import Embeddings
from core.domain.search import Strategy
from core.store.contract import TierDown
from core.store.sync import drift
from core.store.sync.drift import checksum
from core.store.sync.follower import Follower
from core.store.sync.projection import Projection
from core.store.tiers.edge.tier import QdrantEdgeTier
from core.store.tiers.faiss.tier import HotTier
from tests.unit.store.conftest import OpenStore
from tests.unit.store.kit import DIMENSION, MemoryFeed, eventually, faces, spoil_cold

TEMPLATES = 60
Spoil = Callable[..., None]


@pytest.fixture
def gallery(feed: MemoryFeed, random: np.random.Generator) -> Embeddings:
    vectors = faces(random, TEMPLATES // 2, 2)
    for number, templates in enumerate(vectors):
        feed.enroll(f"p{number}", templates)
    return vectors


@pytest.fixture
def tier(tmp_path: Path, feed: MemoryFeed) -> Iterator[QdrantEdgeTier]:
    opened = QdrantEdgeTier(tmp_path / "edge", DIMENSION, feed=feed)
    yield opened
    opened.close()


@pytest.fixture
def projection(tier: QdrantEdgeTier, feed: MemoryFeed, gallery: Embeddings) -> Projection:
    followed = Projection(tier, feed)
    followed.catch_up()
    return followed


@pytest.fixture
def spoil(tier: QdrantEdgeTier, random: np.random.Generator) -> Spoil:
    """Changes the engine's content behind everybody's back."""

    def change(*, lose: list[int], add: list[int] | None = None) -> None:
        spoil_cold(tier, lose=lose, add={n: faces(random, 1, 1)[0, 0] for n in add or []})

    return change


def test_a_tier_that_holds_the_same_is_said_to(projection: Projection, feed: MemoryFeed) -> None:
    feed.erase("p3")
    found = projection.check()
    assert projection.last_check is found
    assert found.ok
    assert (found.tier, found.seq) == ("qdrant", feed.head())
    assert (found.ledger_count, found.tier_count, found.missing, found.extra) == (58, 58, 0, 0)


@pytest.mark.parametrize("few", [drift.FEW, 2])
def test_what_differs_is_counted_logged_and_put_right(
    projection: Projection,
    tier: QdrantEdgeTier,
    feed: MemoryFeed,
    gallery: Embeddings,
    spoil: Spoil,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    few: int,
) -> None:
    """One by one, and by a rebuild when they are many."""
    monkeypatch.setattr("core.store.sync.projection.FEW", few)
    spoil(lose=[1, 2, 60], add=[1001, 1002])
    with caplog.at_level(logging.WARNING):
        found = projection.check()
    assert not found.ok
    assert (found.ledger_count, found.tier_count, found.missing, found.extra) == (60, 59, 3, 2)
    assert "59 templates against 60, 3 missing, 2 too many" in caplog.text
    assert sorted(tier.ids()) == list(range(1, TEMPLATES + 1))
    assert tier.seq == feed.head()
    vector = tier.held([2])[2]
    assert float(vector @ gallery[0, 1]) == pytest.approx(1.0, abs=1e-5)
    assert projection.check().ok


def test_as_many_but_other_templates_are_noticed(projection: Projection, spoil: Spoil) -> None:
    spoil(lose=[5], add=[1005])
    found = projection.check()
    assert (found.ledger_count, found.tier_count, found.missing, found.extra) == (60, 60, 1, 1)


def test_writes_meanwhile_are_no_drift(
    projection: Projection, tier: QdrantEdgeTier, feed: MemoryFeed, random: np.random.Generator, spoil: Spoil
) -> None:
    """Neither are they taken for it, nor do they hide it."""
    over = threading.Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            feed.enroll(f"new{number}", faces(random, 1, 2)[0])
            if number % 2:
                feed.erase(f"new{number - 1}")
            projection.reach(feed.head(), 3.0)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(projection.check().ok for _ in range(20))
        with projection.exclusive(None):
            spoil_cold(tier, lose=[1, 2, 3])
        found = projection.check()
        assert (found.missing, found.extra) == (3, 0)
        assert projection.check().ok
    finally:
        over.set()
        writer.join()


def test_a_cache_misses_nothing_but_must_not_hold_the_erased(
    open_store: OpenStore, feed: MemoryFeed, gallery: Embeddings
) -> None:
    store = open_store(faiss_cache_size=20)
    hot = store.tiers["faiss"].projection
    assert isinstance(hot.tier, HotTier)
    assert not hot.tier.complete
    found = hot.check()
    assert found.ok
    assert found.tier_count < found.ledger_count
    real = feed.template_ids
    gone = hot.tier.ids()[:2]
    feed.template_ids = lambda: (real()[0], np.setdiff1d(real()[1], gone))  # type: ignore[method-assign]
    assert hot.check().extra == 2


def test_the_follower_checks_by_itself(
    projection: Projection, tier: QdrantEdgeTier, feed: MemoryFeed, spoil: Spoil
) -> None:
    spoil(lose=[7])
    follower = Follower(projection, check_minutes=0.001)
    follower.start()
    try:
        assert eventually(lambda: projection.last_check is not None)
        assert eventually(lambda: tier.count() == TEMPLATES)
    finally:
        follower.close()


def test_a_tier_that_does_not_answer_is_no_drift(projection: Projection, tier: QdrantEdgeTier) -> None:
    tier.close()
    with pytest.raises(TierDown):
        projection.check()
    assert projection.last_check is None


def test_a_hanging_tier_holds_up_a_writer_for_a_bounded_time_only(
    projection: Projection, tier: QdrantEdgeTier, feed: MemoryFeed, random: np.random.Generator
) -> None:
    """The first for as long as it is willing to wait, the next ones hardly at all."""
    hanging, release = threading.Event(), threading.Event()
    real = tier.apply

    def hang(*arguments: object, **named: object) -> None:
        hanging.set()
        release.wait(30.0)
        real(*arguments, **named)  # type: ignore[arg-type]

    tier.apply = hang  # type: ignore[method-assign]
    feed.enroll("new", faces(random, 1, 1)[0])
    try:
        started = time.monotonic()
        assert not projection.reach(feed.head(), 0.5)
        assert not projection.reach(feed.head(), 600.0)
        assert time.monotonic() - started < 25.0, "it waited for the tier"
        assert hanging.is_set()
        assert not projection.ok
    finally:
        release.set()
    assert eventually(lambda: projection.reach(feed.head(), 3.0) and projection.ok)


def test_a_rebuild_goes_on_answering(open_store: OpenStore, feed: MemoryFeed, gallery: Embeddings) -> None:
    store = open_store()
    rebuild = threading.Thread(target=store.upkeep.rebuild, args=("qdrant",))
    rebuild.start()
    searches = 0
    while rebuild.is_alive():
        result = store.search(gallery[searches % 30, 0], strategy=Strategy.QDRANT_ONLY)
        assert result.best is not None
        assert result.best.user_id == f"p{searches % 30}"
        assert result.degraded == ()
        assert result.tiers == ("qdrant",)
        searches += 1
    assert searches > 3


def test_the_checksum_knows_sets_not_orders(random: np.random.Generator) -> None:
    ids = np.arange(1, 10_000, dtype=np.int64)
    assert checksum(random.permutation(ids)) == checksum(ids)
    swapped = ids.copy()
    swapped[[0, 1]] += (-1, 1)  # the same sum, the same number
    assert swapped.sum() == ids.sum()
    assert checksum(swapped) != checksum(ids)
    assert checksum(np.array([0], np.int64)) == 0xE220A8397B1DCDAF, "splitmix64.c's first number for seed 0"
