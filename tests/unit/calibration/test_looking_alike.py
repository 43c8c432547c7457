"""Who looks alike, who is weak, and where they lie on the map: against brute force and scikit-learn."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from core.calibration import embedding_map, look_alikes, score_blocks
from core.calibration.faces import read
from core.calibration.look_alikes import closest, confusable_pairs, weak_templates
from core.domain.errors import RobiError
from core.domain.vectors import unit_rows
from tests.unit.calibration.conftest import enroll, faces_of


def brute_pairs(faces):
    best = {}
    similarity = faces.vectors @ faces.vectors.T
    for a in range(faces.templates):
        for b in range(a + 1, faces.templates):
            one, other = sorted((int(faces.person[a]), int(faces.person[b])))
            if one != other and similarity[a, b] > best.get((one, other), (-2,))[0]:
                best[one, other] = (float(similarity[a, b]), {a, b})
    return sorted(((value, pair, rows) for pair, (value, rows) in best.items()), reverse=True)


@pytest.mark.parametrize("block", [150, 1000, 4_000_000])
@pytest.mark.parametrize("limit", [1, 7, 100_000])
def test_the_closest_pairs_are_those_of_brute_force(mixed, monkeypatch, block, limit):
    monkeypatch.setattr(score_blocks, "BLOCK", block)
    expected = brute_pairs(mixed)[:limit]
    found = closest(mixed, limit)
    assert np.allclose(found.similarity, [value for value, *_ in expected], atol=1e-6)
    assert [{a, b} for a, b in zip(found.a.tolist(), found.b.tolist(), strict=True)] == [
        rows for *_, rows in expected
    ]


def test_the_index_finds_people_who_are_alike(monkeypatch):
    monkeypatch.setattr(look_alikes, "EXACT_BELOW", 10)
    faces = faces_of([3] * 600, dimension=64, spread=0.05)
    random = np.random.default_rng(3)
    twins = [(10, 20), (30, 40), (50, 60)]
    for one, other in twins:  # the second one becomes a near copy of the first
        rows = slice(int(faces.starts[other]), int(faces.starts[other]) + 3)
        like = faces.vectors[faces.starts[one]] + 0.02 * random.standard_normal((3, 64))
        faces.vectors[rows] = unit_rows(like, 64)
    found = closest(faces, 3)
    people = {(int(faces.person[a]), int(faces.person[b])) for a, b in zip(found.a, found.b, strict=True)}
    assert people == set(twins)
    exact = [float(faces.vectors[a] @ faces.vectors[b]) for a, b in zip(found.a, found.b, strict=True)]
    assert np.allclose(found.similarity, exact, atol=1e-5)
    assert (np.diff(found.similarity) <= 0).all()


def test_one_person_has_nobody_to_be_confused_with():
    assert len(closest(faces_of([4]), 10).similarity) == 0


def test_the_search_for_pairs_can_be_stopped(mixed):
    def step(share: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        closest(mixed, step=step)


def test_pairs_have_names_and_say_whether_they_are_settled(service):
    enroll(service, [2, 1, 3, 2])
    faces = read(service.ledger, 128).faces
    confirmed = {frozenset(("p0", "p3"))}
    pairs = confusable_pairs(service.ledger, faces, closest(faces), confirmed)
    assert len(pairs) == 6
    assert all(pair.a_user_id < pair.b_user_id for pair in pairs)
    assert [pair.similarity for pair in pairs] == sorted((pair.similarity for pair in pairs), reverse=True)
    assert {(p.a_user_id, p.b_user_id) for p in pairs if p.confirmed} == {("p0", "p3")}
    for pair in pairs:
        there = service.ledger.feed.resolve([pair.a_template, pair.b_template])
        a, b = there[pair.a_template], there[pair.b_template]
        assert (a.user_id, b.user_id) == (pair.a_user_id, pair.b_user_id)
        assert float(a.vector @ b.vector) == pytest.approx(pair.similarity, abs=1e-6)


def test_who_is_erased_meanwhile_is_left_out(service):
    enroll(service, [2, 2, 2])
    gallery = read(service.ledger, 128)
    alike = closest(gallery.faces)
    service.erasures.erase("p1")
    pairs = confusable_pairs(service.ledger, gallery.faces, alike)
    assert [(pair.a_user_id, pair.b_user_id) for pair in pairs] == [("p0", "p2")]
    assert {weak.user_id for weak in weak_templates(service.ledger, gallery.faces)} == {"p0", "p2"}
    shown = embedding_map.embedding_map(service.ledger, gallery)
    assert set(shown.user_ids) == {"p0", "p2"}


def test_weak_templates_are_the_ones_least_like_their_own_person(service):
    counts = [1, 3, 2, 4]
    vectors = enroll(service, counts)
    service.people.ask_for_photo("p2")
    people = np.repeat(np.arange(4), counts)
    similarity = vectors @ vectors.T - 3 * np.eye(10)
    own = np.where(people[:, None] == people, similarity, -3).max(axis=1)
    expected = [row for row in np.argsort(own) if own[row] > -2][:5]
    weak = weak_templates(service.ledger, read(service.ledger, 128).faces, limit=5)
    assert [one.own_best for one in weak] == pytest.approx(own[expected].tolist(), abs=1e-6)
    assert {one.template_id for one in weak} == {row + 1 for row in expected}
    for one in weak:
        number = people[one.template_id - 1]
        assert (one.user_id, one.name, one.others) == (f"p{number}", f"Person {number}", counts[number] - 1)
        assert one.asked == (number == 2)


# ---------------------------------------------------------------- the map


def test_the_map_is_scikit_learns(service):
    vectors = enroll(service, [2, 3, 1, 4])
    gallery = read(service.ledger, 128)
    shown = embedding_map.embedding_map(service.ledger, gallery)
    order = [int(i) - 1 for i in gallery.faces.ids]
    expected = PCA(2).fit(vectors[order])
    points = expected.transform(vectors[order])
    assert np.allclose(np.abs(shown.points), np.abs(points), atol=1e-4)
    assert np.allclose(shown.explained, expected.explained_variance_ratio_, atol=1e-5)
    assert shown.points.dtype == np.float32
    there = service.ledger.feed.resolve(shown.template_ids.tolist())
    assert [there[i].user_id for i in shown.template_ids.tolist()] == list(shown.user_ids)
    assert [there[i].name for i in shown.template_ids.tolist()] == list(shown.names)
    assert shown.quality == pytest.approx(np.full(10, 0.9), abs=1e-6)


def test_a_large_map_is_a_sample_of_whole_people_by_the_seed(service):
    enroll(service, [2] * 20)
    gallery = read(service.ledger, 128)
    one, same, other = (
        embedding_map.embedding_map(service.ledger, gallery, limit=11, seed=seed) for seed in (1, 1, 2)
    )
    assert len(one.points) == 10
    assert one.gallery_templates == 40
    assert all(one.user_ids.count(user_id) == 2 for user_id in one.user_ids)
    assert one.user_ids == same.user_ids != other.user_ids


def test_similarity_of_all_points_to_one_person(service, monkeypatch):
    vectors = enroll(service, [2, 3, 1, 4])
    shown = embedding_map.embedding_map(service.ledger, read(service.ledger, 128))
    monkeypatch.setattr(embedding_map, "_AT_ONCE", 3)
    service.erasures.erase("p2")
    found = embedding_map.similarity_to(service.ledger, shown, "p1")
    expected = (vectors @ vectors[2:5].T).max(axis=1)
    expected[5] = np.nan  # p2's
    assert np.allclose(found, expected[shown.template_ids - 1], atol=1e-6, equal_nan=True)
    with pytest.raises(RobiError) as problem:
        embedding_map.similarity_to(service.ledger, shown, "nobody")
    assert problem.value.code == "unknown_person"


def test_two_photos_make_no_map(service):
    enroll(service, [2])
    with pytest.raises(RobiError) as problem:
        embedding_map.embedding_map(service.ledger, read(service.ledger, 128))
    assert problem.value.code == "not_enough_templates"
