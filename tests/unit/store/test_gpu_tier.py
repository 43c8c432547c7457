"""The hot tier and the whole store with the index on GPUs.

Numpy stands in for the card, in a real child process; `tests/gpu` runs this on one.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest

from core.domain.faces import Embeddings
from core.domain.search import Strategy
from core.store.search.plan import HOT
from core.store.tiers.faiss import index, index_builder, vector_table
from core.store.tiers.faiss.candidate_index import GpuOptions, GpuUnavailable, IndexOptions
from core.store.tiers.faiss.gpu import index as gpu
from core.store.tiers.faiss.gpu.index import GpuFlat, flat
from core.store.tiers.faiss.gpu.use import FIRST_PAUSE
from core.store.tiers.faiss.index import on_gpu
from core.store.tiers.faiss.index_builder import Finished
from core.store.tiers.faiss.tier import HotOptions, HotTier
from tests.unit.store.conftest import OpenStore
from tests.unit.store.kit import DIMENSION, Clock, MemoryFeed, another_look, eventually, faces, oracle, tidy
from tests.unit.store.test_gpu import Open, alive, open_card  # noqa: F401  the last is a fixture

PEOPLE = 400
REQUIRED = GpuOptions(0, 0.9, required=True)
IF_WORTH_IT = GpuOptions(0, 0.9)
ASKED_FOR = "A GPU was asked for, but FAISS searches on the CPU: "
LOST = "GPU 0 was lost, or FAISS failed on it; the log says more."


@pytest.fixture(autouse=True)
def on_the_card(open_card: Open, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(gpu, "flat", partial(flat, open_card=open_card))


@pytest.fixture
def gallery(feed: MemoryFeed, random: np.random.Generator) -> Embeddings:
    """(PEOPLE, dimension), enrolled with template ids from 1."""
    return enroll(feed, faces(random, PEOPLE, 1)[:, 0], "p")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tier(feed: MemoryFeed, gallery: Embeddings, clock: Clock) -> Iterator[HotTier]:
    tier = open_tier(feed, REQUIRED, clock)
    yield tier
    tier.close()


def open_tier(feed: MemoryFeed, options: GpuOptions, clock: Callable[[], float] = time.monotonic) -> HotTier:
    tier = HotTier(feed, DIMENSION, HotOptions(IndexOptions(gpu=options), 100_000), clock=clock)
    tier.open()
    return tier


def enroll(feed: MemoryFeed, vectors: Embeddings, name: str) -> Embeddings:
    for number, vector in enumerate(vectors):
        feed.enroll(f"{name}{number}", vector[None])
    return vectors


def follow(tier: HotTier, feed: MemoryFeed) -> None:
    tier.apply(feed.changes(tier.seq, 100_000), after=tier.seq)


def best(tier: HotTier, vectors: Embeddings) -> list[int]:
    return [hits[0].template_id for hits in tier.search(vectors, 1)]


def card_of(tier: HotTier) -> GpuFlat:
    found = tier.snapshot.index
    assert isinstance(found, GpuFlat)
    return found


def lose(tier: HotTier) -> None:
    os.kill(card_of(tier).pids[0], signal.SIGKILL)


def test_a_lost_card_is_named_and_tried_again_after_a_pause(
    tier: HotTier, gallery: Embeddings, clock: Clock
) -> None:
    assert (tier.degraded, tier.note) == (False, None)
    lose(tier)
    assert best(tier, gallery) == list(range(1, PEOPLE + 1))
    assert (tier.kind, tier.degraded, tier.note) == ("Flat", True, ASKED_FOR + LOST)
    assert tier.due() is None, "not at once"
    clock.now += FIRST_PAUSE
    tidy(tier)
    assert (card_of(tier).size, tier.degraded, tier.note) == (PEOPLE, False, None)
    assert best(tier, gallery) == list(range(1, PEOPLE + 1))


def test_a_card_that_stays_away_is_tried_ever_more_seldom_and_named_by_the_latest_reason(
    tier: HotTier, gallery: Embeddings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_args: object) -> Any:
        raise GpuUnavailable("No NVIDIA driver is installed.")

    lose(tier)
    best(tier, gallery[:1])
    monkeypatch.setattr(gpu, "flat", gone)
    for pause in (1, 1, 2, 4, 8, 16, 32, 60, 60, 60):
        clock.now += pause * FIRST_PAUSE - 1.0
        assert tier.due() is None
        clock.now += 1.0
        tidy(tier)
    assert tier.note == ASKED_FOR + "No NVIDIA driver is installed."
    assert best(tier, gallery) == list(range(1, PEOPLE + 1))


def test_without_its_card_a_large_gallery_gets_another_index_at_once(
    tier: HotTier, gallery: Embeddings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "FLAT_BELOW", 100)
    lose(tier)
    best(tier, gallery[:1])
    tidy(tier)
    assert (tier.kind, tier.note) == ("PQfs", ASKED_FOR + LOST)
    assert tier.due() is None
    assert best(tier, gallery) == list(range(1, PEOPLE + 1))
    clock.now += FIRST_PAUSE
    tidy(tier)
    assert (card_of(tier).size, tier.note) == (PEOPLE, None)


def test_a_card_that_is_lost_while_rows_are_added_is_named(
    tier: HotTier,
    feed: MemoryFeed,
    gallery: Embeddings,
    random: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index_builder, "LONGEST_TAIL", 16)
    new = enroll(feed, faces(random, 40, 1)[:, 0], "new")
    follow(tier, feed)
    lose(tier)
    tidy(tier)
    assert (tier.kind, tier.note) == ("Flat", ASKED_FOR + LOST)
    assert best(tier, np.concatenate([gallery, new])) == list(range(1, PEOPLE + 41))


def test_a_card_that_nobody_insists_on_is_missed_only_after_it_served(
    feed: MemoryFeed, gallery: Embeddings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "GPU_FROM", {"auto": 0})
    with monkeypatch.context() as without:
        without.setattr(gpu, "flat", partial(gpu.flat, devices=(77,)))
        tier = open_tier(feed, IF_WORTH_IT, clock)
    assert (tier.kind, tier.degraded, tier.note) == ("Flat", False, None)
    clock.now += FIRST_PAUSE
    tidy(tier)
    lose(tier)
    assert best(tier, gallery[:3]) == [1, 2, 3]
    assert (tier.degraded, tier.note) == (False, "FAISS searches on the CPU: " + LOST)


@pytest.mark.parametrize(
    ("setting", "rows", "dimension", "tried"),
    [
        ("auto", 195_000, 512, False),
        ("auto", 196_000, 512, True),
        ("auto", 780_000, 128, False),
        ("Flat", 9_000, 512, False),
        ("Flat", 10_000, 512, True),
        ("PQfs", 10_000_000, 512, False),
    ],
)
def test_a_card_is_used_from_where_it_is_faster_unless_it_is_asked_for(
    setting: Any, rows: int, dimension: int, tried: bool
) -> None:
    assert on_gpu(IndexOptions(setting, gpu=IF_WORTH_IT), rows, dimension) is tried
    assert on_gpu(IndexOptions(setting, gpu=REQUIRED), 0, dimension) is (setting != "PQfs")
    assert not on_gpu(IndexOptions(setting), rows, dimension)


def test_a_gallery_moves_to_the_card_when_it_has_grown(
    feed: MemoryFeed, gallery: Embeddings, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "GPU_FROM", {"auto": 420 * DIMENSION})
    tier = open_tier(feed, IF_WORTH_IT)
    assert (tier.kind, tier.degraded, tier.note, tier.due()) == ("Flat", False, None, None)
    new = enroll(feed, faces(random, 20, 1)[:, 0], "new")
    follow(tier, feed)
    tidy(tier)
    assert card_of(tier).size == tier.snapshot.sealed.rows == 416
    assert best(tier, np.concatenate([gallery, new])) == list(range(1, 421))


def test_rows_go_to_the_card_early_because_that_costs_little(
    tier: HotTier, feed: MemoryFeed, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_builder, "LONGEST_TAIL", 16)
    monkeypatch.setattr(index_builder, "TAIL_SHARE", 1.0)  # of a CPU's index, which would be copied
    new = enroll(feed, faces(random, 20, 1)[:, 0], "new")
    follow(tier, feed)
    before = card_of(tier)
    tidy(tier)
    assert card_of(tier) is before
    assert before.size == tier.snapshot.sealed.rows == 416
    assert best(tier, new) == list(range(PEOPLE + 1, PEOPLE + 21))


def test_rows_that_went_to_the_card_in_vain_do_not_go_there_twice(
    tier: HotTier, feed: MemoryFeed, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An extension is not adopted when the rows have moved to where there is room meanwhile."""
    monkeypatch.setattr(index_builder, "LONGEST_TAIL", 16)
    monkeypatch.setattr(index_builder, "FREE_SHARE", 0.0)
    monkeypatch.setattr(vector_table, "SPARE_ROOM", 8)
    tier.load()
    new = enroll(feed, faces(random, 24, 1)[:, 0], "new")
    follow(tier, feed)
    job = tier.due()
    assert job is not None
    outcome = job.run()
    rows = tier.snapshot.rows
    many = enroll(feed, faces(random, rows.free + 1, 1)[:, 0], "many")
    follow(tier, feed)
    assert tier.snapshot.rows is not rows
    tier.adopt(outcome)
    assert tier.snapshot.sealed.rows == PEOPLE
    new = np.concatenate([new, many])
    tidy(tier)
    everybody = PEOPLE + len(new)
    assert card_of(tier).size == tier.snapshot.sealed.rows == everybody // 8 * 8
    new = new[: card_of(tier).size - PEOPLE]
    everything = card_of(tier).search(new, 1, None)[:, 0]
    assert everything.tolist() == list(range(PEOPLE, card_of(tier).size)), "each row in its place"


def test_an_index_that_could_not_be_adopted_leaves_no_process(
    feed: MemoryFeed, gallery: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "GPU_FROM", {"auto": 10**9})
    tier = open_tier(feed, IF_WORTH_IT)
    monkeypatch.setattr(index, "GPU_FROM", {"auto": 0})
    job = tier.due()
    assert job is not None
    outcome = job.run()
    assert isinstance(outcome, Finished)
    assert isinstance(outcome.sealed.built.index, GpuFlat)
    pid = outcome.sealed.built.index.pids[0]
    monkeypatch.setattr(index, "GPU_FROM", {"auto": 10**9})
    tier.load()
    tier.adopt(outcome)
    assert tier.kind == "Flat"
    del outcome, job
    assert eventually(lambda: not alive(pid))


def test_thirty_two_threads_get_the_exact_answer_through_the_stores_queue(
    open_store: OpenStore, feed: MemoryFeed, gallery: Embeddings, random: np.random.Generator
) -> None:
    store = open_store(use_gpu="true")
    assert eventually(lambda: store.states()[0].ok and store.states()[0].coverage == 1.0)
    hot = store.hot
    assert hot is not None
    assert card_of(hot).size == PEOPLE
    probes = [another_look(random, gallery[n]) for n in range(0, PEOPLE, 4)] + list(
        faces(random, 28, 1)[:, 0]
    )
    rule = store.rule()

    def ask(probe: Embeddings) -> bool:
        """Whether the store says what an exact comparison with the whole ledger says."""
        found = store.search(probe, k=5, strategy=Strategy.FAISS_FIRST)
        people, decision = oracle(feed, probe, 5, rule)
        assert found.tiers[0] == HOT
        assert [one.user_id for one in found.candidates] == [user_id for user_id, _ in people]
        assert [one.similarity for one in found.candidates] == pytest.approx([s for _, s in people], abs=1e-5)
        return found.decision is decision

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(ask, probes))
    assert store.loads()[HOT].rows >= len(probes), "all by the one thread that may use the card"
    assert card_of(hot).size == PEOPLE
