"""One gallery, every strategy over every kind of store: numpy's people, similarities and decisions.

A Qdrant server takes part if QDRANT_URL or QDRANT_BIN is set, with the latter a cluster of three, too. A
double that speaks its protocol over sockets always does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from core.config.settings import Settings
from core.domain.decisions import Rule
from core.domain.faces import Embedding, Embeddings
from core.domain.search import Decision, SearchResult, Strategy
from core.store.hybrid import HybridVectorStore
from tests.qdrant_double import QdrantDouble
from tests.qdrant_server import real_cluster, real_server
from tests.unit.store.kit import DIMENSION, PACK, MemoryFeed, another_look, faces, oracle, settings, unit

RULE = Rule(settings().face_threshold, settings().face_margin, settings().face_review_band)
PARTIAL = {"faiss_cache_size": 100}  # of 300 templates
SKIPS_LISTS = {"faiss_index_type": "IVF", "faiss_nlist": 16, "faiss_nprobe": 1}
OpenStore = Callable[..., HybridVectorStore]


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture
def feed() -> MemoryFeed:
    return MemoryFeed()


@pytest.fixture(params=["edge", "double", "server", "cluster"])
def cold(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Where Qdrant is: in a child process, behind a double's sockets, or on a real server."""
    if request.param == "edge":
        yield settings()
    elif request.param == "server":
        with real_server() as chosen:
            yield chosen
    elif request.param == "cluster":
        with real_cluster() as chosen:
            yield chosen
    else:
        with QdrantDouble() as double:
            yield settings(qdrant_url=double.url, qdrant_grpc_port=double.grpc_port)


@pytest.fixture
def open_store(feed: MemoryFeed, cold: Settings, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens stores on the test's gallery; closes what is left open."""
    opened: list[HybridVectorStore] = []
    folders = (tmp_path / str(number) for number in count())

    def make(**values: object) -> HybridVectorStore:
        chosen = cold.model_copy(update=values)
        opened.append(HybridVectorStore.open(chosen, feed, PACK, next(folders)))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


def enroll_all(feed: MemoryFeed, gallery: Embeddings) -> None:
    for number, templates in enumerate(gallery):
        feed.enroll(f"p{number:03}", templates)


def probes_for(random: np.random.Generator, gallery: Embeddings) -> list[Embedding]:
    """Known faces, strangers, and faces between two people, which are for review."""
    known = [another_look(random, gallery[person, 0]) for person in range(0, len(gallery), 4)]
    strangers = list(unit(random.standard_normal((20, DIMENSION))))
    between = [unit(gallery[i, 0] + 0.97 * gallery[i + 1, 0]) for i in range(0, 20, 2)]
    return [*known, *strangers, *between]


def assert_as_the_oracle(result: SearchResult, feed: MemoryFeed, probe: Embedding, k: int = 5) -> None:
    people, decision = oracle(feed, probe, k, RULE)
    assert [c.user_id for c in result.candidates] == [user_id for user_id, _ in people]
    assert [c.similarity for c in result.candidates] == pytest.approx([s for _, s in people], abs=1e-3)
    assert result.decision is decision
    assert result.degraded == ()


@pytest.mark.parametrize(
    ("strategy", "kept"),
    [
        *((strategy, {}) for strategy in Strategy),
        *((strategy, {"faiss_index_type": "PQfs"}) for strategy in (Strategy.HYBRID, Strategy.FAISS_FIRST)),
        *((strategy, PARTIAL) for strategy in (Strategy.HYBRID, Strategy.QDRANT_ONLY)),
        (Strategy.HYBRID, SKIPS_LISTS),
        *((strategy, {"faiss_enabled": False}) for strategy in Strategy),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(str, value.values())) or "whole",
)
def test_strategies_agree_with_the_oracle(
    open_store: OpenStore,
    feed: MemoryFeed,
    random: np.random.Generator,
    strategy: Strategy,
    kept: dict[str, object],
) -> None:
    gallery = faces(random, 100, 3)
    enroll_all(feed, gallery)
    store = open_store(**kept)
    if kept is not SKIPS_LISTS and kept.get("faiss_enabled", True):
        assert (store.states()[0].coverage == 1.0) == (kept is not PARTIAL)
    decisions = set()
    for probe in probes_for(random, gallery):
        result = store.search(probe, strategy=strategy)
        assert_as_the_oracle(result, feed, probe)
        decisions.add(result.decision)
    assert decisions == set(Decision), "the probes must put every decision to the test"


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_batch_answers_as_single_searches_do(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, strategy: Strategy
) -> None:
    gallery = faces(random, 60, 2)
    enroll_all(feed, gallery)
    store = open_store()
    probes = np.stack([another_look(random, gallery[i % 60, 0]) for i in range(150)])
    batch = store.search_batch(probes, k=3, strategy=strategy)
    assert len(batch) == len(probes)
    for probe, result in zip(probes[::10], batch[::10], strict=True):
        assert result.candidates == store.search(probe, k=3, strategy=strategy).candidates


@pytest.mark.parametrize("strategy", list(Strategy))
def test_enrolled_is_found_when_sync_returns_and_erased_is_gone_without(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, strategy: Strategy
) -> None:
    store = open_store()
    gallery = faces(random, 30, 2)
    for number, templates in enumerate(gallery):
        _, seq = feed.enroll(f"p{number}", templates)
        assert store.sync(seq) == ()
        assert_as_the_oracle(store.search(templates[1], strategy=strategy), feed, templates[1])
    for number in range(0, 30, 3):
        feed.erase(f"p{number}")  # and no sync
        found = store.search(gallery[number, 0], strategy=strategy).candidates
        assert [c.user_id for c in found] == [
            user_id for user_id, _ in oracle(feed, gallery[number, 0], 5, RULE)[0]
        ]


@pytest.mark.parametrize("strategy", list(Strategy))
def test_one_person_with_many_templates_does_not_crowd_out_the_others(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, strategy: Strategy
) -> None:
    crowd = faces(random, 1, 200)[0]
    feed.enroll("crowd", crowd)
    enroll_all(feed, faces(random, 30, 1))
    store = open_store()
    assert oracle(feed, crowd[0], 5, RULE)[0][0][0] == "crowd"
    assert_as_the_oracle(store.search(crowd[0], k=5, strategy=strategy), feed, crowd[0])


@pytest.mark.parametrize("strategy", list(Strategy))
def test_more_people_than_there_are_can_be_asked_for(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, strategy: Strategy
) -> None:
    store = open_store()
    probe = faces(random, 1, 1)[0, 0]
    empty = store.search(probe, strategy=strategy)
    assert empty.candidates == ()
    assert empty.decision is Decision.UNKNOWN
    enroll_all(feed, faces(random, 3, 2))
    store.sync(feed.head())
    assert len(store.search(probe, k=50, strategy=strategy).candidates) == 3
