from __future__ import annotations

import numpy as np
import pytest

from core.domain.decisions import Rule
from core.domain.search import Decision, Hit, Source
from core.domain.templates import StoredTemplate
from core.store.search.decide import enough
from core.store.search.rank import misled, rank, source_of

RULE = Rule(threshold=0.40, margin=0.05, review_band=0.04)


@pytest.mark.parametrize(
    ("similarities", "decision"),
    [
        ([], Decision.UNKNOWN),
        ([0.40], Decision.MATCH),
        ([0.39], Decision.REVIEW),
        ([0.36], Decision.REVIEW),
        ([0.35], Decision.UNKNOWN),
        ([0.70, 0.60], Decision.MATCH),
        ([0.70, 0.66], Decision.REVIEW),
        ([0.38, 0.37], Decision.REVIEW),
        ([0.20, -0.5], Decision.UNKNOWN),
    ],
)
def test_decision(similarities: list[float], decision: Decision) -> None:
    assert RULE.decide(similarities) is decision


def template(template_id: int, person: int, *numbers: float) -> StoredTemplate:
    return StoredTemplate(template_id, person, f"u{person}", f"U {person}", np.array(numbers, np.float32))


TEMPLATES = {t.template_id: t for t in (template(1, 1, 0.6, 0.8), template(2, 1, 1, 0), template(3, 2, 1, 0))}
PROBE = np.array([1, 0], np.float32)


def test_each_person_has_the_best_template_and_ties_go_by_user_id() -> None:
    ranked = rank(PROBE, [Hit(3, 0.1), Hit(1, 0.1), Hit(2, 0.1), Hit(2, 0.1)], TEMPLATES)
    assert [(r.template.user_id, r.template.template_id, r.similarity) for r in ranked] == [
        ("u1", 2, 1.0),
        ("u2", 3, 1.0),
    ]


def test_similarities_are_the_ledger_s_not_the_tier_s() -> None:
    assert rank(PROBE, [Hit(1, 0.99)], TEMPLATES)[0].similarity == pytest.approx(0.6)


def test_hits_that_the_ledger_no_longer_has_do_not_exist() -> None:
    assert rank(PROBE, [Hit(404, 1.0)], TEMPLATES) == []


def test_source_is_by_the_winning_template() -> None:
    first, second = {1}, {2}
    assert source_of(1, first, first) is Source.BOTH
    assert source_of(1, first, second) is Source.FAISS
    assert source_of(2, first, second) is Source.QDRANT


def test_the_hot_tier_is_enough_when_complete_or_certain() -> None:
    certain = rank(PROBE, [Hit(2, 1.0)], TEMPLATES)
    undecided = rank(PROBE, [Hit(2, 1.0), Hit(3, 1.0)], TEMPLATES)
    assert enough(certain, RULE, settled=False)
    assert not enough(undecided, RULE, settled=False)
    assert enough(undecided, RULE, settled=True)
    assert not enough([], RULE, settled=False)


@pytest.mark.parametrize(
    ("hot", "cold", "wrong"),
    [
        ((2,), (2,), False),
        ((2, 4), (2,), False),
        ((1,), (2,), False),  # the same person by another template
        ((4,), (2,), True),
        ((4, 1), (2,), False),  # the person was the first of the hot tier's, too
        ((4, 5), (2,), True),
        ((), (2,), False),
        ((9,), (2,), False),  # erased: nobody was proposed
        ((9,), (9,), False),
    ],
)
def test_the_hot_tier_misled_when_it_put_somebody_else_first(
    hot: tuple[int, ...], cold: tuple[int, ...], wrong: bool
) -> None:
    templates = {t.template_id: t for t in (*TEMPLATES.values(), template(4, 2, 0, 1), template(5, 1, -1, 0))}
    hits = [Hit(template_id, 0.0) for template_id in hot]
    both = [*hits, *(Hit(template_id, 0.0) for template_id in cold)]
    assert misled(PROBE, hits, rank(PROBE, both, templates), templates) is wrong
