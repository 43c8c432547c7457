"""The hot tier on a real card: promises of `tests/unit/store/test_hot.py`, and what is said of a lost one."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

import tests.unit.store.test_hot as suite
from core.config import CachePolicy, IndexType
from core.store.gpu import GpuFlat
from core.store.hot import HotOptions, HotTier
from core.store.index import GpuOptions, IndexOptions
from tests.unit.store.conftest import feed, random  # noqa: F401  fixtures
from tests.unit.store.kit import DIMENSION, MemoryFeed, faces
from tests.unit.store.test_hot import (  # noqa: F401  run here once more
    test_a_person_who_comes_in_late_comes_whole,
    test_an_erased_vector_is_wiped_from_memory,
    test_completeness_returns_when_the_gallery_fits_again,
    test_every_index_kind_finds_known_faces_with_exact_similarities,
    test_every_index_kind_forgets_and_learns,
    test_eviction_takes_whole_people_and_the_least_recent_first,
    test_memory_stays_bounded_whatever_is_promoted,
)

pytestmark = pytest.mark.gpu


def gpu_tier(
    feed: MemoryFeed,  # noqa: F811
    *,
    index: IndexType = "auto",
    capacity: int = 100_000,
    policy: CachePolicy = "lru",
) -> HotTier:
    options = IndexOptions(index, gpu=GpuOptions(0, 0.9))
    tier = HotTier(feed, DIMENSION, HotOptions(options, capacity, policy=policy, gpu_required=True))
    tier.open()
    return tier


@pytest.fixture(autouse=True)
def on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "tier_on", gpu_tier)


def test_a_lost_card_is_said_to_be_lost_and_answers_go_on(
    feed: MemoryFeed,  # noqa: F811
    random: np.random.Generator,  # noqa: F811
) -> None:
    gallery = faces(random, 700, 1)
    suite.enroll_all(feed, gallery)
    tier = gpu_tier(feed)
    assert "Flat bf16" in tier.kind or "Flat fp16" in tier.kind
    assert tier.note is None
    assert not tier.degraded
    before = tier.search(gallery[:9, 0], 5)
    index = tier._serving.view.index
    assert isinstance(index, GpuFlat)
    os.kill(index._cards[0].pid, signal.SIGKILL)
    after = tier.search(gallery[:9, 0], 5)
    assert [[hit.template_id for hit in hits] for hits in after] == [
        [hit.template_id for hit in hits] for hits in before
    ]
    assert tier.kind == "Flat"
    assert tier.degraded
    assert "GPU" in (tier.note or "")


def test_a_gallery_that_the_settings_do_not_let_onto_the_card_stays_on_the_cpu_by_name(
    feed: MemoryFeed,  # noqa: F811
    random: np.random.Generator,  # noqa: F811
) -> None:
    suite.enroll_all(feed, faces(random, 700, 1))
    options = IndexOptions(gpu=GpuOptions(0, 0.0001))
    tier = HotTier(feed, DIMENSION, HotOptions(options, 100_000, gpu_required=True))
    tier.open()
    assert tier.degraded
    assert "GPU_MEMORY_FRACTION=0.0001 leaves 0.0" in (tier.note or "")
    assert tier.count() == 700
