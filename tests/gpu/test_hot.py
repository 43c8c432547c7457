"""The hot tier on a real card: promises of `tests/unit/store/test_hot.py`, and what is said of a full one."""

from __future__ import annotations

import numpy as np
import pytest

import tests.unit.store.test_hot as suite
from core.config.settings import CachePolicy, IndexType
from core.store.tiers.faiss.candidate_index import GpuOptions, IndexOptions
from core.store.tiers.faiss.tier import HotOptions, HotTier
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
    options = IndexOptions(index, gpu=GpuOptions(0, 0.9, required=True))
    tier = HotTier(feed, DIMENSION, HotOptions(options, capacity, policy=policy))
    tier.open()
    return tier


@pytest.fixture(autouse=True)
def on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "tier_on", gpu_tier)


def test_a_gallery_that_the_settings_do_not_let_onto_the_card_stays_on_the_cpu_by_name(
    feed: MemoryFeed,  # noqa: F811
    random: np.random.Generator,  # noqa: F811
) -> None:
    suite.enroll_all(feed, faces(random, 700, 1))
    options = IndexOptions(gpu=GpuOptions(0, 0.0001, required=True))
    tier = HotTier(feed, DIMENSION, HotOptions(options, 100_000))
    tier.open()
    assert tier.degraded
    assert "GPU_MEMORY_FRACTION=0.0001 leaves 0.0" in (tier.note or "")
    assert tier.count() == 700
