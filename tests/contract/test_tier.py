"""What `Tier` promises, held by every tier; and what `ColdTier` promises beyond that."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from core.domain.errors import StartError
from core.domain.faces import Embeddings
from core.domain.templates import Change, ChangeKind
from core.store.contract import ColdTier, Stale, Tier, TierDown
from core.store.tiers.edge.tier import QdrantEdgeTier
from core.store.tiers.faiss.tier import HotTier
from tests.contract.conftest import KINDS, MakeCold
from tests.unit.store.kit import DIMENSION, tidy


def puts(vectors: Embeddings, *, seq: int = 1, template_id: int = 1) -> list[Change]:
    return [
        Change(seq + n, ChangeKind.PUT, template_id + n, template_id + n, vector)
        for n, vector in enumerate(vectors)
    ]


def drops(*template_ids: int, seq: int) -> list[Change]:
    return [Change(seq + n, ChangeKind.DROP, i, i, None) for n, i in enumerate(template_ids)]


def apply(tier: Tier, changes: Sequence[Change]) -> None:
    """As the follower does it: upkeep comes when there is nothing left to apply."""
    tier.apply(changes, after=tier.seq)
    if isinstance(tier, HotTier):
        tidy(tier)


class TestEveryTier:
    def test_a_new_one_is_empty_and_at_the_beginning(self, tier: Tier, vectors: Embeddings) -> None:
        assert tier.seq == 0
        assert tier.count() == 0
        assert tier.search(vectors[:2], 5) == [[], []]
        assert tier.held([1, 2]) == {}
        assert tier.ids().tolist() == []

    def test_it_says_what_and_how_it_is(self, tier: Tier, vectors: Embeddings) -> None:
        apply(tier, puts(vectors))
        assert tier.name in ("faiss", "qdrant")
        assert tier.kind.startswith(("edge", "server", *KINDS))
        assert (tier.complete, tier.degraded, tier.progress) == (True, False, None)

    def test_opening_what_is_open_changes_nothing(self, tier: Tier, vectors: Embeddings) -> None:
        apply(tier, puts(vectors))
        generation = tier.generation
        tier.open()
        assert (tier.generation, tier.seq, tier.count()) == (generation, 40, 40)

    def test_puts_are_found_best_first(self, tier: Tier, vectors: Embeddings) -> None:
        apply(tier, puts(vectors))
        hits = tier.search(vectors[7:8], 10)[0]
        similarities = vectors @ vectors[7]
        assert [h.template_id for h in hits] == (np.argsort(-similarities)[:10] + 1).tolist()
        assert [h.similarity for h in hits] == pytest.approx(np.sort(similarities)[::-1][:10], abs=1e-3)

    def test_each_probe_of_a_batch_gets_as_many_as_asked_for(self, tier: Tier, vectors: Embeddings) -> None:
        apply(tier, puts(vectors))
        answers = tier.search(vectors[:20], 3)
        assert [hits[0].template_id for hits in answers] == list(range(1, 21))
        assert [len(hits) for hits in answers] == [3] * 20

    def test_fewer_are_found_where_fewer_are_held(self, tier: Tier, vectors: Embeddings) -> None:
        apply(tier, puts(vectors))
        apply(tier, drops(*range(6, 41), seq=41))
        answers = tier.search(vectors[:2], 50, 64)
        assert [sorted(h.template_id for h in hits) for hits in answers] == [[1, 2, 3, 4, 5]] * 2

    def test_what_marks_its_place_is_neither_counted_nor_found_nor_held(
        self, tier: Tier, vectors: Embeddings
    ) -> None:
        apply(tier, puts(vectors[:5]))
        assert tier.count() == 5
        like_the_marker = np.eye(1, DIMENSION, dtype=np.float32)
        hits = tier.search(like_the_marker, 50)[0]
        assert sorted(h.template_id for h in hits) == [1, 2, 3, 4, 5]
        assert set(tier.held([0, 1])) == {1}
        assert sorted(tier.ids().tolist()) == [1, 2, 3, 4, 5]

    def test_held_are_the_vectors_themselves(self, tier: Tier, vectors: Embeddings) -> None:
        apply(tier, puts(vectors))
        found = tier.held([3, 40, 404])
        assert set(found) == {3, 40}
        assert found[3] == pytest.approx(vectors[2], abs=1e-6)
        assert found[40] == pytest.approx(vectors[39], abs=1e-6)

    def test_applying_the_same_again_changes_nothing(self, tier: Tier, vectors: Embeddings) -> None:
        apply(tier, puts(vectors[:10]))
        apply(tier, drops(3, seq=11))
        apply(tier, [*puts(vectors[:2], seq=12), *drops(3, 4, seq=14), *drops(4, seq=16)])
        assert tier.count() == 8
        assert set(tier.held(range(1, 11))) == {1, 2, 5, 6, 7, 8, 9, 10}
        assert len(tier.search(vectors[:1], 20)[0]) == 8, "nobody is in there twice"
        assert tier.seq == 16

    def test_its_seq_is_that_of_the_last_change(self, tier: Tier, vectors: Embeddings) -> None:
        """Numbers may be left out: they only ascend."""
        apply(tier, puts(vectors[:3], seq=4))
        assert tier.seq == 6
        apply(tier, drops(2, seq=90))
        assert tier.seq == 90

    def test_dropping_what_was_never_there_is_fine(self, tier: Tier) -> None:
        apply(tier, drops(404, 405, seq=1))
        assert tier.count() == 0
        assert tier.seq == 2

    def test_put_and_drop_in_one_batch_end_dropped(self, tier: Tier, vectors: Embeddings) -> None:
        apply(tier, [*puts(vectors[:3]), *drops(2, seq=4)])
        assert set(tier.held([1, 2, 3])) == {1, 3}

    def test_a_put_whose_template_was_erased_is_a_drop(self, tier: Tier, vectors: Embeddings) -> None:
        apply(tier, puts(vectors[:1]))
        apply(tier, [Change(2, ChangeKind.PUT, 1, 1, None)])
        assert tier.count() == 0
        assert tier.seq == 2

    def test_the_erased_are_never_returned(self, tier: Tier, vectors: Embeddings) -> None:
        apply(tier, puts(vectors))
        apply(tier, drops(5, 8, 30, seq=41))
        apply(tier, puts(vectors[:3], seq=44, template_id=50))
        left = sorted({*range(1, 41), 50, 51, 52} - {5, 8, 30})
        for hits in tier.search(vectors[[4, 7, 29]], 60):
            assert sorted(h.template_id for h in hits) == left
        assert tier.held([5, 8, 30]) == {}
        assert sorted(tier.ids().tolist()) == left

    def test_a_writer_who_believes_it_elsewhere_is_refused(self, tier: Tier, vectors: Embeddings) -> None:
        apply(tier, puts(vectors[:2]))
        with pytest.raises(Stale):
            tier.apply(puts(vectors[2:4], seq=10, template_id=10), after=9)
        assert tier.seq == 2
        assert tier.count() == 2

    def test_cleared_is_empty_and_usable_and_another_generation(
        self, tier: Tier, vectors: Embeddings
    ) -> None:
        apply(tier, puts(vectors))
        generation = tier.generation
        tier.clear()
        assert (tier.seq, tier.count()) == (0, 0)
        assert tier.generation > generation
        apply(tier, puts(vectors[:3]))
        assert tier.count() == 3

    def test_searches_and_writes_from_many_threads(self, tier: Tier, vectors: Embeddings) -> None:
        apply(tier, puts(vectors[:20]))
        failures: list[BaseException] = []

        def read() -> None:
            try:
                for _ in range(20):
                    assert tier.search(vectors[:1], 1)[0][0].template_id == 1
            except BaseException as problem:  # noqa: BLE001  reported by the main thread
                failures.append(problem)

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        for number in range(20, 40):
            apply(tier, puts(vectors[number : number + 1], seq=number + 1, template_id=number + 1))
        for reader in readers:
            reader.join()
        assert failures == []
        assert tier.count() == 40

    def test_a_sign_of_life_is_given_while_it_lives(self, tier: Tier, vectors: Embeddings) -> None:
        tier.ping()
        apply(tier, puts(vectors))
        tier.ping()

    def test_closed_twice_it_finds_nobody_any_more(self, tier: Tier, vectors: Embeddings) -> None:
        apply(tier, puts(vectors))
        tier.close()
        tier.close()
        with suppress(TierDown):
            assert tier.search(vectors[:1], 1) == [[]]


class TestColdTier:
    """What outlives the process, and may be away."""

    def test_what_was_applied_is_there_after_reopening(
        self, make_cold: MakeCold, vectors: Embeddings
    ) -> None:
        first = make_cold()
        first.open()
        apply(first, puts(vectors))
        apply(first, drops(5, seq=41))
        first.close()
        second = make_cold()
        second.open()
        assert second.seq == 41
        assert second.count() == 39
        found = second.held([1, 5])
        assert set(found) == {1}
        assert float(found[1] @ vectors[0]) == pytest.approx(1.0, abs=1e-5)

    def test_info_tells_the_state(self, cold: ColdTier, vectors: Embeddings) -> None:
        apply(cold, puts(vectors))
        assert {"segments", "index", "retries", "restarts", "errors"} <= set(cold.info())

    def test_what_was_erased_may_be_in_its_files(self, cold: ColdTier, vectors: Embeddings) -> None:
        apply(cold, puts(vectors))
        apply(cold, drops(1, seq=41))
        assert cold.traces().there

    def test_there_is_nothing_to_tidy_up_in_a_new_one(self, cold: ColdTier) -> None:
        cold.maintain()
        assert (cold.seq, cold.count()) == (0, 0)

    def test_closed_is_down(self, cold: ColdTier, vectors: Embeddings) -> None:
        cold.close()
        with pytest.raises(TierDown):
            cold.search(vectors[:1], 1)
        with pytest.raises(TierDown):
            cold.ping()
        with pytest.raises(TierDown):
            cold.open()

    def test_not_opened_yet_is_down(self, make_cold: MakeCold, vectors: Embeddings) -> None:
        with pytest.raises(TierDown):
            make_cold().search(vectors[:1], 1)


@pytest.mark.parametrize("kind", ["local", "double", "server"])
def test_a_server_collection_of_another_dimension_stops_the_start(
    request: pytest.FixtureRequest, kind: str, vectors: Embeddings
) -> None:
    make = request.getfixturevalue(kind)
    first = make()
    first.open()
    first.apply(puts(vectors), after=0)
    other = make(DIMENSION * 2)
    with pytest.raises(StartError) as refused:
        other.open()
    assert refused.value.code == "collection_mismatch"
    assert first.count() == len(vectors)
    first.close()
    other.close()


def test_an_edge_directory_of_another_dimension_is_begun_anew(tmp_path: Path, vectors: Embeddings) -> None:
    first = QdrantEdgeTier(tmp_path / "edge", DIMENSION)
    first.open()
    first.apply(puts(vectors), after=0)
    first.close()
    other = QdrantEdgeTier(tmp_path / "edge", DIMENSION * 2)
    other.open()
    assert (other.seq, other.count()) == (0, 0)
    other.close()
