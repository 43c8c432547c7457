"""Scores come from comparing every face with everybody else, itself left out."""

import numpy as np
import pytest

from core.calibration import score_blocks
from core.calibration.faces import Faces, check_enough
from core.calibration.progress import ProgressWatch
from core.calibration.score_blocks import compare, own_best
from core.domain.errors import RobiError
from tests.unit.calibration.conftest import faces_of


def brute_force(faces: Faces) -> tuple[np.ndarray, np.ndarray]:
    """Own best and per person best, one template at a time."""
    own = np.full(faces.templates, np.nan)
    others = np.full((faces.templates, faces.people), np.nan)
    for row, vector in enumerate(faces.vectors):
        for person in range(faces.people):
            rows = [r for r in np.flatnonzero(faces.person == person) if r != row]
            if rows and person == faces.person[row]:
                own[row] = max(float(faces.vectors[r] @ vector) for r in rows)
            elif rows:
                others[row, person] = max(float(faces.vectors[r] @ vector) for r in rows)
    return own, others


@pytest.mark.parametrize("block", [40, 4_000_000])
def test_genuine_and_open_set_scores_are_those_of_brute_force(mixed, monkeypatch, block):
    monkeypatch.setattr(score_blocks, "BLOCK", block)
    own, others = brute_force(mixed)
    scores = compare(mixed, impostors=10**9, seed=0)
    assert np.allclose(scores.genuine, own[~np.isnan(own)], atol=1e-6)
    assert np.array_equal(scores.genuine_person, mixed.person[~np.isnan(own)])
    ranked = np.sort(np.where(np.isnan(others), -2, others), axis=1)
    assert np.allclose(scores.open_set.best, ranked[:, -1], atol=1e-6)
    assert np.allclose(scores.open_set.second, ranked[:, -2], atol=1e-6)
    assert np.allclose(scores.open_set.own, own, atol=1e-6, equal_nan=True)
    assert scores.open_set.people == mixed.people - 1


def test_all_impostor_comparisons_are_kept_when_there_is_room(mixed):
    _, others = brute_force(mixed)
    scores = compare(mixed, impostors=10**9, seed=0)
    assert len(scores.impostor) == scores.impostor_possible == np.isfinite(others).sum()
    assert np.allclose(np.sort(scores.impostor), np.sort(others[np.isfinite(others)]), atol=1e-6)
    assert scores.impostor_pairs == mixed.people * (mixed.people - 1) // 2


def test_a_sample_of_impostors_is_of_the_stated_size_and_true(mixed):
    _, others = brute_force(mixed)
    scores = compare(mixed, impostors=600, seed=5)
    assert 600 <= len(scores.impostor) < 600 + mixed.templates
    assert (scores.impostor_probe != scores.impostor_claimed).all()
    each = len(scores.impostor) // mixed.templates
    rows = np.repeat(np.arange(mixed.templates), each)
    assert np.allclose(scores.impostor, others[rows, scores.impostor_claimed], atol=1e-6)
    pairs = {
        frozenset(p)
        for p in zip(scores.impostor_probe.tolist(), scores.impostor_claimed.tolist(), strict=True)
    }
    assert scores.impostor_pairs == len(pairs)
    for row in range(mixed.templates):  # nobody is asked about twice
        claimed = scores.impostor_claimed[rows == row]
        assert len(set(claimed.tolist())) == len(claimed)


def test_every_comparison_is_as_likely_to_be_sampled():
    faces = faces_of([2] * 8)
    counts = np.zeros((8, 8))
    for seed in range(400):
        scores = compare(faces, impostors=16, seed=seed)
        np.add.at(counts, (scores.impostor_probe, scores.impostor_claimed), 1)
    expected = 400 * 16 / (8 * 7)
    off_diagonal = counts[~np.eye(8, dtype=bool)]
    assert counts.trace() == 0
    assert np.abs(off_diagonal - expected).max() < 5 * np.sqrt(expected)


def test_the_seed_decides_and_nothing_else_does(mixed):
    one, same, other = (compare(mixed, impostors=300, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(one.impostor, same.impostor)
    assert not np.array_equal(one.impostor, other.impostor)


def test_a_large_gallery_is_probed_by_as_many_people_as_possible(mixed, monkeypatch):
    monkeypatch.setattr(score_blocks, "MOST_COMPARISONS", 60 * mixed.templates)
    scores = compare(mixed, impostors=600, seed=0)
    people, probes = np.unique(scores.open_set.person, return_counts=True)
    assert probes.sum() == 60
    assert len(people) == mixed.people  # everybody once before anybody twice
    several = mixed.counts > 1
    assert set(probes.tolist()) == {1, 2}
    assert (probes[~several] == 1).all()
    assert len(scores.genuine) == mixed.counts[several].sum()  # these are cheap: all of them


def test_a_person_with_more_templates_than_a_block_takes(monkeypatch):
    monkeypatch.setattr(score_blocks, "_MANY", 3)
    faces = faces_of([11, 2])
    expected, _ = brute_force(faces)
    assert np.allclose(own_best(faces), expected, atol=1e-6)


def test_two_people_have_nobody_second():
    scores = compare(faces_of([2, 2]), impostors=100, seed=0)
    assert np.isnan(scores.open_set.second).all()


def test_one_person_alone_is_refused():
    with pytest.raises(RobiError) as problem:
        check_enough(faces_of([5]))
    assert problem.value.code == "not_enough_templates"
    assert "only one person" in problem.value.message
    assert problem.value.hint


def test_comparing_stops_between_blocks(mixed, monkeypatch):
    monkeypatch.setattr(score_blocks, "BLOCK", mixed.templates)
    seen = []
    watch = ProgressWatch(lambda p: seen.append(p.share), lambda: len(seen) > 5)
    with pytest.raises(RobiError) as problem:
        compare(mixed, impostors=100, seed=0, step=watch.part(0, 1, "Comparing"))
    assert problem.value.code == "cancelled"
    assert len(seen) == 6


def test_whole_people_are_drawn_for_the_map(mixed):
    rows = mixed.whole_people(40, np.random.default_rng(0))
    assert 30 < len(rows) <= 40
    people, counts = np.unique(mixed.person[rows], return_counts=True)
    assert (counts == mixed.counts[people]).all()
    assert len(mixed.whole_people(10_000, np.random.default_rng(0))) == mixed.templates
