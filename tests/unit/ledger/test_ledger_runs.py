from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from core.domain.errors import NotFound
from core.domain.templates import NewTemplate
from core.ledger import runs

AT = datetime(2026, 5, 4, tzinfo=UTC)


def test_runs_are_listed_newest_first_with_their_summaries(ledger):
    first = ledger.runs.add(AT, "one", {"n": 1}, {"all": 1})
    second = ledger.runs.add(AT - timedelta(days=1), "two", {"n": 2}, {"all": 2})
    assert [(run.id, run.name, run.content) for run in ledger.runs.all()] == [
        (second, "two", {"n": 2}),
        (first, "one", {"n": 1}),
    ]
    kept = ledger.runs.one(first)
    assert (kept.at, kept.name, kept.content) == (AT, "one", {"all": 1})


def test_a_run_is_renamed_and_deleted_by_its_number(ledger):
    number = ledger.runs.add(AT, "one", {}, {})
    ledger.runs.rename(number, "another")
    assert ledger.runs.one(number).name == ledger.runs.all()[0].name == "another"
    ledger.runs.remove(number)
    assert ledger.runs.all() == ()
    for missing in (
        lambda: ledger.runs.one(number),
        lambda: ledger.runs.rename(number, "x"),
        lambda: ledger.runs.remove(number),
    ):
        with pytest.raises(NotFound) as problem:
            missing()
        assert problem.value.code == "unknown_run"
    assert ledger.runs.add(AT, "new", {}, {}) > number, "a number is never given twice"


def test_the_oldest_runs_go_when_there_are_too_many(ledger, monkeypatch):
    monkeypatch.setattr(runs, "MOST_RUNS", 3)
    numbers = [ledger.runs.add(AT, f"run {n}", {}, {}) for n in range(5)]
    assert [run.id for run in ledger.runs.all()] == numbers[:1:-1]


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_blocks_hold_every_living_template_once(ledger, rows):
    rng = np.random.default_rng(0)
    dimension = 128
    for number in range(4):
        vectors = rng.standard_normal((2, dimension)).astype(np.float32)
        ledger.people.enroll(f"p{number}", "P", [NewTemplate(v, 1.0, "api") for v in vectors])
    ledger.people.erase("p1")
    blocks = list(ledger.feed.blocks(rows))
    ids = np.concatenate([block.ids for block in blocks])
    assert sorted(ids.tolist()) == ids.tolist() == sorted(ledger.feed.template_ids()[1].tolist())
    assert max(len(block.ids) for block in blocks) <= rows
    for block in blocks:
        known = ledger.feed.resolve(block.ids.tolist())
        for i, person, vector in zip(block.ids.tolist(), block.persons.tolist(), block.vectors, strict=True):
            assert known[i].person == person
            assert np.array_equal(known[i].vector, vector)
