"""Who stays in a full hot tier, and how large one may become."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from core.config.settings import load_settings
from core.domain.errors import StartError
from core.store.tiers.faiss import budget
from core.store.tiers.faiss.candidate_index import IndexOptions
from core.store.tiers.faiss.eviction import EvictionPolicy, Frequency, Recency, leaving
from core.store.tiers.faiss.id_array import IdArray
from core.store.tiers.faiss.tier import HotOptions, HotTier
from tests.unit.store.kit import DIMENSION, Clock, MemoryFeed, faces, settings


def people(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def order(standing: EvictionPolicy, *numbers: int) -> list[int]:
    """These people, who leaves first in front."""
    persons = people(*numbers)
    return persons[np.argsort(standing.scores(persons), kind="stable")].tolist()


def test_lru_keeps_who_was_seen_last() -> None:
    standing = Recency()
    standing.warm(people(3, 1, 2))
    assert order(standing, 1, 2, 3, 4) == [4, 2, 1, 3]
    standing.touch(people(2, 4))
    standing.touch(people(2))
    assert order(standing, 1, 2, 3, 4) == [1, 3, 4, 2]


def test_lfu_counts_matches_and_lets_them_fade() -> None:
    clock = Clock()
    standing = Frequency(half_life_s=10.0, clock=clock)
    standing.touch(people(1, 1, 1))
    standing.touch(people(2))
    assert order(standing, 1, 2, 3) == [3, 2, 1]
    clock.now = 10.0
    standing.touch(people(2))  # 1.5 against 1.5, and then once more
    assert standing.scores(people(1)) == pytest.approx(standing.scores(people(2)))
    clock.now = 30.0
    standing.touch(people(2))
    assert order(standing, 1, 2) == [1, 2]
    clock.now = 100_000.0  # ten thousand half-lives: nothing overflows
    standing.touch(people(1))
    assert np.isfinite(standing.scores(people(1, 2, 3))).all()
    assert order(standing, 1, 2) == [2, 1]


def test_lfu_begins_with_the_order_of_the_ledger() -> None:
    standing = Frequency()
    standing.warm(people(3, 1, 2))
    assert order(standing, 1, 2, 3, 4) == [4, 2, 1, 3]
    standing.touch(people(2, 2, 2))
    standing.warm(people(3, 1, 2))  # the tier was reloaded
    assert order(standing, 1, 2, 3, 4) == [4, 1, 3, 2]


def test_whole_people_leave_until_there_is_room() -> None:
    standing = Recency()
    standing.warm(people(1, 2, 3, 4))  # 4 was seen longest ago
    rows = people(1, 1, 2, 4, 4, 4, 3, 3, 2)
    assert leaving(rows, standing, 3).tolist() == (rows == 4).tolist()
    assert leaving(rows, standing, 4).tolist() == ((rows == 4) | (rows == 3)).tolist()
    assert leaving(rows, standing, 100).all()


@pytest.mark.parametrize(("policy", "kept"), [("lru", False), ("lfu", True)])
def test_a_regular_survives_a_crowd_only_by_frequency(
    feed: MemoryFeed, random: np.random.Generator, policy: str, kept: bool
) -> None:
    for number, templates in enumerate(faces(random, 60, 1)):
        feed.enroll(f"p{number}", templates)
    tier = HotTier(feed, DIMENSION, HotOptions(IndexOptions(), 20, policy=policy))
    tier.open()
    regular = feed.number("p59")
    for _ in range(5):
        tier.policy.note(regular)
    tier.due()
    for passer_by in range(40):
        tier.promote([feed.number(f"p{passer_by}")])
    assert tier.snapshot.rows.holds(60) is kept
    assert tier.count() <= 20


def test_promotions_and_evictions_are_logged_without_names(
    feed: MemoryFeed, random: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    for number, templates in enumerate(faces(random, 30, 1)):
        feed.enroll(f"p{number}", templates)
    tier = HotTier(feed, DIMENSION, HotOptions(IndexOptions(), 20))
    tier.open()
    with caplog.at_level(logging.DEBUG, "robi.store.faiss"):
        tier.promote([feed.number("p0")])
    assert caplog.messages == [
        "promoted 1 people into the hot tier",
        "evicted 2 templates from the hot tier",
    ]


def test_tables_grow_and_keep_what_they_have() -> None:
    table = IdArray(np.int64)
    table.put(people(5), people(50))
    table.increase(people(5, 7, 7), 1)
    table.put(people(1_000_000), people(1))
    assert table.get(people(5, 7, 6, 1_000_000, 10**9, -1)).tolist() == [51, 2, 0, 1, 0, 0]
    assert (table.has(5), table.has(6), table.has(10**9), table.has(-1)) == (True, False, False, False)


def test_a_cache_that_sets_its_size_takes_a_quarter_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budget, "free_memory", lambda: 8 << 30)
    assert budget.capacity_of(settings(faiss_cache_size="auto"), 512) == (2 << 30) // (6 * 512 + 48)
    assert budget.capacity_of(settings(faiss_cache_size=7), 512) == 7
    monkeypatch.setattr(budget, "free_memory", lambda: 1 << 20)
    assert budget.capacity_of(settings(faiss_cache_size="auto"), 512) == budget.FEWEST


def test_a_container_s_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(budget, "CONTAINER_LIMITS", (limit, tmp_path / "absent"))
    assert budget.free_memory() > 100 << 20
    limit.write_text("max\n")
    assert budget.free_memory() > 100 << 20
    limit.write_text(f"{100 << 20}\n")
    assert budget.free_memory() == 100 << 20


@pytest.mark.parametrize("setting", ["Flat", "PQfs", "SQfp16", "RaBitQ", "IVF"])
@pytest.mark.slow
def test_a_template_takes_no_more_memory_than_the_budget_says(
    feed: MemoryFeed, random: np.random.Generator, setting: str
) -> None:
    for number, templates in enumerate(faces(random, 4000, 3)):
        feed.enroll(f"p{number}", templates)
    tier = HotTier(feed, DIMENSION, HotOptions(IndexOptions(setting), 100_000))
    tier.open()
    assert 4 * DIMENSION * 12_000 < tier.state.memory_bytes <= budget.bytes_each(DIMENSION) * 12_000


@pytest.mark.parametrize("value", ["-5", "0", "plenty", "1.5", ""])
def test_a_cache_size_that_is_none_stops_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("FAISS_CACHE_SIZE", value)
    with pytest.raises(StartError) as refused:
        load_settings()
    assert refused.value.message == "FAISS_CACHE_SIZE: must be auto, or a whole number from 1."
