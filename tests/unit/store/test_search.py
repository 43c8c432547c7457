"""What a search says of itself, and what it refuses; `test_congruence.py` holds it against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from core.domain.decisions import Rule
from core.domain.errors import BadInput
from core.domain.faces import Embedding
from core.domain.search import Decision, Source, Strategy
from tests.unit.store.conftest import OpenStore
from tests.unit.store.kit import DIMENSION, MemoryFeed, another_look, faces, oracle, settings, unit

RULE = Rule(settings().face_threshold, settings().face_margin, settings().face_review_band)
PARTIAL = {"faiss_cache_size": 100}  # of 300 templates


def enroll_all(feed: MemoryFeed, gallery: np.ndarray) -> None:
    for number, templates in enumerate(gallery):
        feed.enroll(f"p{number:03}", templates)


def test_the_decision_knows_the_second_person_even_when_one_is_asked_for(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    twin = faces(random, 1, 1)[0, 0]
    feed.enroll("a", np.repeat(twin[None], 30, axis=0))  # more than a search for one person looks at
    feed.enroll("b", another_look(random, twin)[None])
    store = open_store(face_margin=0.5)
    result = store.search(twin, k=1)
    assert len(result.candidates) == 1
    assert result.decision is Decision.REVIEW


def test_the_threshold_of_a_call_overrides_the_setting(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    face = faces(random, 1, 1)[0, 0]
    feed.enroll("a", face[None])
    store = open_store()
    probe = another_look(random, face)
    assert store.search(probe).decision is Decision.MATCH
    assert store.search(probe, threshold=0.99).decision is Decision.UNKNOWN
    with pytest.raises(BadInput):
        store.search(probe, threshold=2.0)


def test_source_names_the_tiers_that_proposed_the_winner(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    gallery = faces(random, 100, 3)
    enroll_all(feed, gallery)
    store = open_store(**PARTIAL)
    old, new = gallery[0, 0], gallery[99, 0]

    def source(probe: Embedding, strategy: Strategy) -> Source:
        best = store.search(probe, strategy=strategy).best
        assert best is not None
        return best.source

    assert source(new, Strategy.HYBRID) is Source.BOTH
    assert source(new, Strategy.QDRANT_ONLY) is Source.QDRANT
    assert source(new, Strategy.FAISS_FIRST) is Source.FAISS
    assert source(old, Strategy.QDRANT_ONLY) is Source.QDRANT
    wrong = store.search(gallery[1, 0], strategy=Strategy.HYBRID)  # `old` was recognised and is hot by now
    assert wrong.best is not None
    assert wrong.best.source is Source.QDRANT
    assert wrong.cache_top1_wrong


def test_faiss_first_asks_qdrant_only_when_the_hot_tier_is_not_enough(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    gallery = faces(random, 100, 3)
    enroll_all(feed, gallery)
    stranger = unit(random.standard_normal(DIMENSION))
    full, partial = open_store(), None
    assert full.search(stranger, strategy=Strategy.FAISS_FIRST).tiers == ("faiss",)
    full.close()
    partial = open_store(**PARTIAL)
    assert partial.search(gallery[99, 0], strategy=Strategy.FAISS_FIRST).tiers == ("faiss",)
    assert partial.search(stranger, strategy=Strategy.FAISS_FIRST).tiers == ("faiss", "qdrant")
    asked_both = partial.search(gallery[0, 0], strategy=Strategy.FAISS_FIRST)
    assert asked_both.tiers == ("faiss", "qdrant")
    assert asked_both.best is not None
    assert asked_both.best.user_id == "p000"


def test_faiss_first_does_not_take_the_word_of_an_index_that_skips_lists(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    gallery = faces(random, 300, 3)
    enroll_all(feed, gallery)
    store = open_store(faiss_index_type="IVF", faiss_nlist=16, faiss_nprobe=1)
    assert store.states()[0].kind == "IVF16"
    missed = 0
    for person in range(0, 300, 3):
        probe = another_look(random, gallery[person, 0])
        people, decision = oracle(feed, probe, 1, RULE)
        result = store.search(probe, k=1, strategy=Strategy.FAISS_FIRST)
        assert result.best is not None
        assert (result.best.user_id, result.decision) == (people[0][0], decision)
        missed += result.cache_top1_wrong or result.best.source is Source.QDRANT
    assert missed, "one list of sixteen must miss somebody, or this proves nothing"


def test_ordinary_searches_join_with_the_ledger_once(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    gallery = faces(random, 50, 2)
    enroll_all(feed, gallery)
    store = open_store()
    before = feed.resolves
    store.search(gallery[3, 0])
    assert feed.resolves == before + 1


@pytest.mark.parametrize(
    "probe",
    [
        np.full(DIMENSION, np.nan, np.float32),
        np.full(DIMENSION, np.inf, np.float32),
        np.zeros(DIMENSION, np.float32),
        np.ones(DIMENSION - 1, np.float32),
        np.ones((2, DIMENSION), np.float32),
        np.full(DIMENSION, 3e38, np.float32),
    ],
    ids=["nan", "infinity", "zero", "short", "two", "overflow"],
)
def test_bad_probes_are_refused(open_store: OpenStore, probe: Embedding) -> None:
    with pytest.raises(BadInput) as refused:
        open_store().search(probe)
    assert refused.value.code == "invalid_embedding"


def test_probes_of_another_length_are_normalised(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    face = faces(random, 1, 1)[0, 0]
    feed.enroll("a", face[None])
    best = open_store().search(7.0 * face).best
    assert best is not None
    assert best.similarity == pytest.approx(1.0, abs=1e-5)


def test_without_faiss_every_strategy_uses_qdrant_and_nothing_is_degraded(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    gallery = faces(random, 20, 1)
    enroll_all(feed, gallery)
    store = open_store(faiss_enabled=False)
    assert store.states()[0].kind == "off"
    for strategy in Strategy:
        result = store.search(gallery[4, 0], strategy=strategy)
        assert result.best is not None
        assert result.best.user_id == "p004"
        assert result.tiers == ("qdrant",)
        assert result.degraded == ()
