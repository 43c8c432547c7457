"""What happens when a tier dies, hangs, is away, or lies: searches go on, and say so, and it heals."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from core.domain.faces import Embeddings
from core.domain.search import Strategy
from core.domain.system import TierState
from core.runtime import disk
from core.store.hybrid import HybridVectorStore
from core.store.search.plan import COLD
from core.store.tiers.edge.tier import QdrantEdgeTier
from tests.unit.store.conftest import OpenStore
from tests.unit.store.kit import DIMENSION, PACK, MemoryFeed, eventually, faces, settings, spoil_cold


def cold(store: HybridVectorStore) -> TierState:
    return next(state for state in store.states() if state.name == "qdrant")


def child_of(store: HybridVectorStore) -> int:
    tier = store.tiers[COLD].tier
    assert isinstance(tier, QdrantEdgeTier)
    assert tier.pid is not None
    return tier.pid


def gallery_in(feed: MemoryFeed, random: np.random.Generator, people: int = 30) -> Embeddings:
    gallery = faces(random, people, 2)
    for number, templates in enumerate(gallery):
        feed.enroll(f"p{number}", templates)
    return gallery


def best_of(store: HybridVectorStore, probe: np.ndarray, strategy: Strategy) -> str:
    best = store.search(probe, strategy=strategy).best
    assert best is not None
    return best.user_id


@pytest.mark.parametrize("strategy", [Strategy.HYBRID, Strategy.QDRANT_ONLY])
def test_a_killed_engine_is_replaced_and_the_next_search_answers(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, strategy: Strategy
) -> None:
    gallery = gallery_in(feed, random)
    store = open_store()
    for expected in (1, 2):
        os.kill(child_of(store), signal.SIGKILL)
        assert best_of(store, gallery[4, 0], strategy) == "p4"
        assert store.cold_info()["restarts"] == expected
    assert eventually(lambda: cold(store).ok)
    assert store.search(gallery[4, 0], strategy=strategy).degraded == ()
    assert cold(store).templates == 60


def test_a_write_to_a_killed_engine_is_not_lost(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    gallery_in(feed, random)
    store = open_store()
    for number, templates in enumerate(faces(random, 3, 2)):
        os.kill(child_of(store), signal.SIGKILL)
        ids, seq = feed.enroll(f"new{number}", templates)
        assert store.sync(seq) == ()
        assert store.upkeep.left(ids) == {"qdrant": 2, "faiss": 2}
        assert best_of(store, templates[0], Strategy.QDRANT_ONLY) == f"new{number}"


def test_a_hanging_engine_is_killed_and_replaced_within_its_deadline(
    tmp_path: Path, feed: MemoryFeed, random: np.random.Generator
) -> None:
    gallery = gallery_in(feed, random)
    tier = QdrantEdgeTier(tmp_path / "edge", DIMENSION, search_seconds=0.5)
    store = HybridVectorStore(settings(), feed, PACK, tier)
    store.start()
    try:
        hanging = child_of(store)
        os.kill(hanging, signal.SIGSTOP)
        assert best_of(store, gallery[5, 0], Strategy.QDRANT_ONLY) == "p5"
        assert child_of(store) != hanging
        with pytest.raises(ProcessLookupError):
            os.kill(hanging, 0)
    finally:
        store.close()


def test_an_engine_that_keeps_dying_is_left_alone_and_the_hot_tier_answers(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.store.tiers.edge.engine.RESTART_WINDOW", 3.0)
    gallery = gallery_in(feed, random)
    store = open_store()
    degraded = False
    for _ in range(8):
        state = store.tiers[COLD].tier
        assert isinstance(state, QdrantEdgeTier)
        if state.pid is not None:
            os.kill(state.pid, signal.SIGKILL)
        result = store.search(gallery[6, 0], strategy=Strategy.QDRANT_ONLY)
        assert result.best is not None
        assert result.best.user_id == "p6"
        degraded = degraded or result.tiers == ("faiss",)
    assert degraded
    assert eventually(lambda: cold(store).ok)


def test_an_unreadable_directory_is_set_aside_and_rebuilt(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, tmp_path: Path
) -> None:
    gallery = gallery_in(feed, random)
    open_store().close()
    directory = tmp_path / "qdrant" / "face_embeddings"
    for file in directory.rglob("*"):
        if file.is_file():
            file.write_bytes(b"scrambled")
    store = open_store()
    assert eventually(lambda: cold(store).ok)
    assert "set aside" in (cold(store).error or "")
    assert directory.with_name("face_embeddings.unreadable").is_dir()
    assert best_of(store, gallery[7, 0], Strategy.QDRANT_ONLY) == "p7"
    store.close()
    again = open_store()
    assert eventually(lambda: cold(again).ok)
    assert cold(again).error is None
    assert not directory.with_name("face_embeddings.unreadable").exists(), (
        "it held people who may be erased now"
    )


def test_on_a_full_disk_a_directory_is_not_taken_for_unreadable(
    open_store: OpenStore,
    feed: MemoryFeed,
    random: np.random.Generator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gallery = gallery_in(feed, random)
    open_store().close()
    directory = tmp_path / "qdrant" / "face_embeddings"
    shutil.copytree(directory, tmp_path / "kept")
    for file in directory.rglob("*"):
        if file.is_file():
            file.write_bytes(b"scrambled")  # any reason not to start
    monkeypatch.setattr(disk, "is_full", lambda _: True)
    store = open_store()
    assert "disk is full" in (cold(store).error or "")
    assert not directory.with_name("face_embeddings.unreadable").exists()
    assert best_of(store, gallery[7, 0], Strategy.QDRANT_ONLY) == "p7", "the hot tier answers meanwhile"
    shutil.rmtree(directory)
    (tmp_path / "kept").rename(directory)
    monkeypatch.undo()
    assert eventually(lambda: cold(store).ok)
    assert cold(store).error is None


def test_a_directory_that_belongs_to_another_ledger_is_rebuilt(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, tmp_path: Path
) -> None:
    gallery_in(feed, random)
    open_store().close()
    other = MemoryFeed()
    gallery = gallery_in(other, np.random.default_rng(99))
    assert other.head() == feed.head()
    store = HybridVectorStore.open(settings(), other, PACK, tmp_path)
    try:
        assert eventually(lambda: cold(store).ok)
        assert best_of(store, gallery[8, 0], Strategy.QDRANT_ONLY) == "p8"
    finally:
        store.close()


def test_a_ledger_restored_from_a_backup_is_followed_back(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, tmp_path: Path
) -> None:
    gallery_in(feed, random)
    open_store().close()
    backup = MemoryFeed()
    gallery = gallery_in(backup, np.random.default_rng(20), people=10)
    store = HybridVectorStore.open(settings(), backup, PACK, tmp_path)
    try:
        assert eventually(lambda: cold(store).ok)
        assert cold(store).templates == 20
        assert best_of(store, gallery[8, 0], Strategy.QDRANT_ONLY) == "p8"
    finally:
        store.close()


def test_points_that_vanished_from_the_cold_tier_are_noticed_at_the_next_start(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, tmp_path: Path
) -> None:
    gallery = gallery_in(feed, random)
    store = open_store()
    tier = store.tiers[COLD].tier
    assert isinstance(tier, QdrantEdgeTier)
    spoil_cold(tier, lose=[1, 2, 3])
    assert cold(store).templates == 57
    store.close()
    again = open_store()
    assert eventually(lambda: cold(again).ok and cold(again).templates == 60)
    assert best_of(again, gallery[0, 0], Strategy.QDRANT_ONLY) == "p0"


def test_a_rebuild_leads_back_to_the_same_answers(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    gallery = gallery_in(feed, random)
    store = open_store()
    before = [store.search(face, strategy=s).candidates for face in gallery[:5, 0] for s in Strategy]
    for tier in ("qdrant", "faiss"):
        store.upkeep.rebuild(tier)
    assert [state.ok for state in store.states()] == [True, True]
    assert [store.search(face, strategy=s).candidates for face in gallery[:5, 0] for s in Strategy] == before


def test_another_process_s_writes_arrive_without_being_asked_for(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    store = open_store()
    face = faces(random, 1, 1)[0]
    feed.enroll("elsewhere", face)
    assert eventually(lambda: bool(store.search(face[0]).candidates))
    assert eventually(lambda: [state.lag for state in store.states()] == [0, 0])


def test_a_gpu_that_was_asked_for_and_is_not_used_is_named(open_store: OpenStore) -> None:
    hot = open_store(use_gpu="true").states()[0]
    assert not hot.ok
    assert "GPU" in (hot.error or "")


def test_states_and_closing_survive_a_lost_directory(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, tmp_path: Path
) -> None:
    gallery_in(feed, random)
    store = open_store()
    shutil.rmtree(tmp_path / "qdrant")
    assert len(store.states()) == 2
    store.close()
    store.close()
