"""The hot tier: every index kind gives float32 answers, people stay whole, memory stays bounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.config.settings import CachePolicy, IndexType
from core.domain.faces import Embeddings
from core.domain.templates import HotSet
from core.store.tiers.faiss.candidate_index import IndexOptions
from core.store.tiers.faiss.index import FEWEST, build, kind_for
from core.store.tiers.faiss.index_snapshot import candidates
from core.store.tiers.faiss.tier import HotOptions, HotTier
from tests.unit.store.kit import DIMENSION, MemoryFeed, another_look, faces, tidy

KINDS: list[IndexType] = ["Flat", "PQfs", "SQfp16", "RaBitQ", "IVF"]  # IVFPQ needs more templates to exist


def tier_on(
    feed: MemoryFeed, *, index: IndexType = "auto", capacity: int = 100_000, policy: CachePolicy = "lru"
) -> HotTier:
    tier = HotTier(feed, DIMENSION, HotOptions(IndexOptions(index), capacity, policy=policy))
    tier.open()
    return tier


def follow(tier: HotTier, feed: MemoryFeed) -> None:
    changes = feed.changes(tier.seq, 10_000)
    if changes:
        tier.apply(changes, after=tier.seq)


def enroll_all(feed: MemoryFeed, gallery: Embeddings) -> None:
    for number, templates in enumerate(gallery):
        feed.enroll(f"p{number:04}", templates)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("index", KINDS)
def test_every_index_kind_finds_known_faces_with_exact_similarities(
    feed: MemoryFeed, random: np.random.Generator, index: IndexType
) -> None:
    gallery = faces(random, 700, 1)
    enroll_all(feed, gallery)
    tier = tier_on(feed, index=index)
    known = range(0, 700, 7)
    probes = np.stack([another_look(random, gallery[n, 0]) for n in known])
    for n, probe, hits in zip(known, probes, tier.search(probes, 5), strict=True):
        assert hits[0].template_id == n + 1
        assert hits[0].similarity == pytest.approx(float(gallery[n, 0] @ probe), abs=1e-5)
        assert [h.similarity for h in hits] == sorted((h.similarity for h in hits), reverse=True)


@pytest.mark.parametrize("index", KINDS)
def test_every_index_kind_forgets_and_learns(
    feed: MemoryFeed, random: np.random.Generator, index: IndexType
) -> None:
    gallery = faces(random, 700, 1)
    enroll_all(feed, gallery)
    tier = tier_on(feed, index=index)
    for n in range(50):
        feed.erase(f"p{n:04}")
    new = faces(random, 20, 1)
    for n, templates in enumerate(new):
        feed.enroll(f"new{n}", templates)
    follow(tier, feed)
    assert tier.count() == 670
    everything = tier.search(gallery[:50, 0], 700)
    assert not {hit.template_id for hits in everything for hit in hits} & set(range(1, 51))
    assert [hits[0].template_id for hits in tier.search(new[:, 0], 1)] == list(range(701, 721))
    assert tier.held(range(1, 51)) == {}


@pytest.mark.parametrize(
    ("setting", "size", "kind"),
    [
        ("auto", 4_999, "Flat"),
        ("auto", 5_000, "PQfs"),
        ("Flat", 1_000_000, "Flat"),
        ("PQfs", 623, "Flat"),
        ("PQfs", 624, "PQfs"),
        ("IVF", 600, "Flat"),
        ("IVF", 700, "IVF"),
        ("IVFPQ", 9_983, "Flat"),
        ("IVFPQ", 9_984, "IVFPQ"),
    ],
)
def test_the_index_kind_fits_the_size(setting: IndexType, size: int, kind: str) -> None:
    assert kind_for(setting, size) == kind


def test_an_ivf_that_cannot_be_trained_yet_says_so_and_is_built_later(
    feed: MemoryFeed, random: np.random.Generator
) -> None:
    enroll_all(feed, faces(random, 100, 1))
    tier = tier_on(feed, index="IVF")
    assert tier.kind == "Flat"
    assert "IVF needs" in (tier.note or "")
    for n, templates in enumerate(faces(random, 600, 1)):
        feed.enroll(f"later{n}", templates)
    follow(tier, feed)
    tidy(tier)
    assert tier.kind == "IVF17"
    assert tier.note == "The index has 17 lists so far: a search looks into all of them."
    assert tier.count() == 700


def test_eviction_takes_whole_people_and_the_least_recent_first(
    feed: MemoryFeed, random: np.random.Generator
) -> None:
    enroll_all(feed, faces(random, 33, 3))
    tier = tier_on(feed, capacity=100)
    assert tier.complete
    tier.policy.note(feed.number("p0000"))  # recognised: stays although enrolled first
    feed.enroll("new", faces(random, 1, 3)[0])
    follow(tier, feed)
    assert tier.count() <= 95
    assert not tier.complete
    held = {template.person for template in feed.all() if tier.snapshot.rows.holds(template.template_id)}
    whole = {p for p in held if all(tier.snapshot.rows.holds(t.template_id) for t in feed.templates_of([p]))}
    assert held == whole
    assert {feed.number("p0000"), feed.number("new"), feed.number("p0032")} <= held
    assert feed.number("p0001") not in held


def test_a_person_who_comes_in_late_comes_whole(feed: MemoryFeed, random: np.random.Generator) -> None:
    enroll_all(feed, faces(random, 40, 3))
    tier = tier_on(feed, capacity=30)
    assert tier.count() == 30
    absent = feed.number("p0000")
    assert not any(tier.snapshot.rows.holds(t.template_id) for t in feed.templates_of([absent]))
    feed.enroll("p0000", faces(random, 1, 1)[0])  # a fourth template
    follow(tier, feed)
    assert all(tier.snapshot.rows.holds(t.template_id) for t in feed.templates_of([absent]))
    assert tier.count() <= 30


def test_memory_stays_bounded_whatever_is_promoted(feed: MemoryFeed, random: np.random.Generator) -> None:
    enroll_all(feed, faces(random, 200, 2))
    tier = tier_on(feed, capacity=50)
    for start in range(0, 200, 10):
        tier.promote(range(start, start + 10))
        assert tier.count() <= 50
    giant, _ = feed.enroll("giant", faces(random, 1, 60)[0])
    follow(tier, feed)
    assert tier.count() <= 50
    assert not tier.held(giant), "a person who does not fit whole is not kept in part"


def test_completeness_returns_when_the_gallery_fits_again(
    feed: MemoryFeed, random: np.random.Generator
) -> None:
    enroll_all(feed, faces(random, 12, 1))
    tier = tier_on(feed, capacity=10)
    assert not tier.complete
    for template in feed.all():
        if not tier.snapshot.rows.holds(template.template_id):
            feed.erase(template.user_id)
    follow(tier, feed)
    tidy(tier)
    assert tier.complete


def test_many_drops_are_compacted_away(
    feed: MemoryFeed, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.store.tiers.faiss.index_builder.FEWEST_DEAD", 10)
    gallery = faces(random, 100, 1)
    enroll_all(feed, gallery)
    tier = tier_on(feed)
    for n in range(0, 100, 2):
        feed.erase(f"p{n:04}")
    follow(tier, feed)
    assert tier.snapshot.rows.dead == 50
    tidy(tier)
    assert tier.snapshot.rows.dead == 0
    assert [hits[0].template_id for hits in tier.search(gallery[1::2, 0], 1)] == list(range(2, 101, 2))


def test_an_erased_vector_is_wiped_from_memory(feed: MemoryFeed, random: np.random.Generator) -> None:
    enroll_all(feed, faces(random, 5, 1))
    tier = tier_on(feed)
    vector = feed.all()[2].vector
    feed.erase("p0002")
    follow(tier, feed)
    rows = tier.snapshot.rows
    remaining = rows.vectors[: rows.used] @ vector
    assert float(remaining.max()) < 0.9


def test_applying_what_a_promotion_already_brought_changes_nothing(
    feed: MemoryFeed, random: np.random.Generator
) -> None:
    enroll_all(feed, faces(random, 40, 1))
    tier = tier_on(feed, capacity=20)
    feed.enroll("new", faces(random, 1, 2)[0])
    tier.promote([feed.number("new")])
    before = tier.count()
    follow(tier, feed)
    assert tier.count() == before
    assert len(tier.search(feed.all()[-1].vector[None], 40)[0]) == before, "nobody is in there twice"


def test_product_quantisation_finds_known_faces(random: np.random.Generator) -> None:
    vectors = faces(random, FEWEST["IVFPQ"], 1, dimension=16)[:, 0]
    index = build(IndexOptions("IVFPQ"), vectors).index
    assert index is not None
    assert index.kind == "IVFPQ256"
    longer = index.extended(vectors[:1])
    wanted = 8 * index.spread
    assert sum(n in index.search(vectors[n : n + 1], wanted, None) for n in range(100)) == 100
    assert len(vectors) in longer.search(vectors[:1], wanted, None)
    assert len(vectors) not in index.search(vectors[:1], wanted, None), "whoever searches it is not disturbed"


@pytest.mark.parametrize(
    ("wanted", "rows", "compared"),
    [(72, 5_000, 100), (72, 50, 50), (400, 100_000, 400), (72, 1_000_000, 1000)],
)
def test_the_more_rows_there_are_the_more_are_compared_exactly(wanted, rows, compared):
    assert candidates(wanted, rows) == compared


def test_a_part_of_the_gallery_is_never_taken_for_all_of_it_when_it_is_loaded_anew(
    feed: MemoryFeed, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search may come at any moment: what it looks at says itself whether it is everything."""
    enroll_all(feed, faces(random, 40, 1))
    tier = tier_on(feed)
    before, whole = tier.snapshot, feed.hot_set
    assert before.settles

    def part(limit: int, **options: Any) -> HotSet:
        return whole(min(limit, 10), **options)

    monkeypatch.setattr(feed, "hot_set", part)
    tier.load()
    assert (tier.count(), tier.snapshot.settles) == (10, False)
    assert (before.rows.count, before.settles) == (40, True)
