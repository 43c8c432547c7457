"""The exact answer against another brute force, one template at a time in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.benchmark import oracle
from core.benchmark.probes import perturbed
from core.domain.decisions import Rule
from core.domain.search import Decision, Source
from tests.unit.benchmark.conftest import EACH, fill
from tests.unit.store.kit import unit

RULE = Rule(0.4, 0.05, 0.04)


def brute(gallery, probe):
    """People with their best similarity, best first."""
    best = {
        f"p{number}": max(float(np.dot(v.astype(np.float64), probe.astype(np.float64))) for v in vectors)
        for number, vectors in enumerate(gallery)
    }
    return sorted(best.items(), key=lambda item: (-item[1], item[0]))


@pytest.mark.parametrize("rows", [EACH - 1, 7, 8192])
def test_it_finds_what_brute_force_finds_however_the_gallery_is_cut(service, monkeypatch, rows):
    monkeypatch.setattr(oracle, "FEWEST_ROWS", rows)
    monkeypatch.setattr(oracle, "MOST_ROWS", rows)
    gallery = fill(service, 30)
    rng = np.random.default_rng(2)
    near = perturbed(gallery[rng.integers(30, size=20), 0], 0.6, rng)
    probes = np.vstack([near, unit(rng.standard_normal((10, gallery.shape[2])))])
    seen: list[int] = []
    truths = oracle.exact(service.ledger, probes, RULE, seen.append)
    assert sum(seen) == 30 * EACH
    for probe, truth in zip(probes, truths, strict=True):
        expected = brute(gallery, probe)
        assert list(truth.user_ids) == [user_id for user_id, _ in expected[: oracle.PEOPLE]]
        assert truth.similarities == pytest.approx([s for _, s in expected[: oracle.PEOPLE]], abs=1e-5)
        assert truth.decision is RULE.decide([s for _, s in expected[:2]])
    decisions = {truth.decision for truth in truths}
    assert {Decision.MATCH, Decision.UNKNOWN} <= decisions


def test_look_alikes_need_their_own_margin(service):
    """The rule is the live one, with the pairs that were found to be two people."""
    gallery = fill(service, 2)
    probe = unit(gallery[0, 0] + 0.7 * gallery[1, 0])
    first = oracle.exact(service.ledger, probe[None], service.store.rule())[0]
    assert first.decision is Decision.MATCH
    service.tuning.confirm_pair("p0", "p1", margin=0.9)
    again = oracle.exact(service.ledger, probe[None], service.store.rule())[0]
    assert again.decision is Decision.REVIEW
    assert service.store.search(probe).decision is Decision.REVIEW


def test_fewer_people_than_asked_for_are_all_there_is(service):
    gallery = fill(service, 2)
    truth = oracle.exact(service.ledger, gallery[1, :1], RULE)[0]
    assert truth.user_ids == ("p1", "p0")
    result = service.store.search(gallery[1, 0])
    assert oracle.recall(result, truth) == 1.0
    assert oracle.agrees(result, truth)


def test_what_agrees_and_what_does_not(service):
    gallery = fill(service, 8)
    truth = oracle.exact(service.ledger, gallery[3, :1], RULE)[0]
    right = service.store.search(gallery[3, 0])
    assert oracle.agrees(right, truth)
    assert oracle.found_first(right, truth)
    assert not oracle.agrees(replace(right, decision=Decision.REVIEW), truth)
    other = replace(right.candidates[1], user_id="p9", similarity=0.3)
    wrong = replace(right, candidates=(other, *right.candidates))
    assert not oracle.found_first(wrong, truth)
    assert not oracle.agrees(wrong, truth)
    as_near = replace(other, similarity=right.candidates[0].similarity, source=Source.FAISS)
    assert oracle.agrees(replace(right, candidates=(as_near,)), truth), "a tie: either is right"
    assert oracle.recall(replace(right, candidates=right.candidates[:2]), truth) == pytest.approx(2 / 5)
    nobody = replace(right, candidates=(), decision=Decision.UNKNOWN)
    assert not oracle.agrees(nobody, truth)
    assert oracle.recall(nobody, truth) == 0.0
