"""The store on the real ledger: the same feed, the same promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.domain.search import Decision, Strategy
from core.domain.templates import NewTemplate
from core.ledger.ledger import Ledger
from core.store.hybrid import HybridVectorStore
from tests.unit.store.kit import PACK, another_look, eventually, faces, settings


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(tmp_path / "ledger.db", PACK)
    yield opened
    opened.close()


def new(vectors: np.ndarray) -> list[NewTemplate]:
    return [NewTemplate(vector, 1.0, "api") for vector in vectors]


@pytest.mark.parametrize("capacity", [1000, 20], ids=["full coverage", "partial coverage"])
def test_enroll_find_restart_find_erase_gone(
    ledger: Ledger, tmp_path: Path, random: np.random.Generator, capacity: int
) -> None:
    gallery = faces(random, 30, 3)
    chosen = settings(faiss_cache_size=capacity)
    store = HybridVectorStore.open(chosen, ledger.feed, PACK, tmp_path)
    for number, templates in enumerate(gallery):
        enrollment = ledger.people.enroll(f"p{number}", f"Person {number}", new(templates))
        assert store.sync(enrollment.seq) == ()
        assert store.upkeep.left(enrollment.template_ids) == {"qdrant": 3, "faiss": 3}
    store.close()

    store = HybridVectorStore.open(chosen, ledger.feed, PACK, tmp_path)
    assert [state.ok for state in store.states()] == [True, True]
    for strategy in Strategy:
        result = store.search(another_look(random, gallery[11, 0]), strategy=strategy)
        assert result.decision is Decision.MATCH
        assert result.best is not None
        assert (result.best.user_id, result.best.name) == ("p11", "Person 11")
    erasure = ledger.people.erase("p11")
    for strategy in Strategy:
        assert "p11" not in {c.user_id for c in store.search(gallery[11, 0], strategy=strategy).candidates}
    assert store.sync(erasure.seq) == ()
    assert store.upkeep.left(erasure.template_ids) == {"qdrant": 0, "faiss": 0}
    store.close()


def test_a_renamed_person_is_found_under_the_new_name(
    ledger: Ledger, tmp_path: Path, random: np.random.Generator
) -> None:
    face = faces(random, 1, 1)[0]
    store = HybridVectorStore.open(settings(), ledger.feed, PACK, tmp_path)
    store.sync(ledger.people.enroll("p", "Before", new(face)).seq)
    ledger.people.update("p", name="After")
    for strategy in Strategy:
        best = store.search(face[0], strategy=strategy).best
        assert best is not None
        assert best.name == "After"
    store.close()


def test_whoever_is_recognised_comes_into_the_hot_tier(
    ledger: Ledger, tmp_path: Path, random: np.random.Generator
) -> None:
    gallery = faces(random, 30, 1)
    ids = [ledger.people.enroll(f"p{n}", f"P {n}", new(t)).template_ids for n, t in enumerate(gallery)]
    store = HybridVectorStore.open(settings(faiss_cache_size=10), ledger.feed, PACK, tmp_path)
    assert store.upkeep.left(ids[0])["faiss"] == 0
    first = store.search(gallery[0, 0])
    assert first.cache_top1_wrong
    assert eventually(lambda: store.upkeep.left(ids[0])["faiss"] == 1)
    assert not store.search(gallery[0, 0]).cache_top1_wrong
    store.close()
