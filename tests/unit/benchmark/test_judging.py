"""Which setting is recommended, how long a run takes, and what a probe searched for twice counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.benchmark import statistics as stats
from core.benchmark.documents import summarised, summary_of
from core.benchmark.estimate import alike, expected_seconds
from core.benchmark.measurement import share_of_probes
from core.benchmark.model import Estimate, RunRequest, Setting
from core.benchmark.recommendation import quality, recommended
from core.domain.search import Strategy
from core.ledger.runs import KeptRun
from tests.unit.benchmark.conftest import measured

HYBRID, COLD = Setting(Strategy.HYBRID), Setting(Strategy.QDRANT_ONLY)


def row(setting: Setting, p95: float, recall: float | None, *, sure: float = 0.01, **values: object):
    """`sure`: how far the ends of the p95's interval are from it, as a share."""
    found = recall and Estimate(recall, recall - 0.02, min(1.0, recall + 0.02))
    ends = Estimate(p95, p95 * (1 - sure), p95 * (1 + sure))
    return measured(setting, p95=ends, recall_at_1=found, **values)


def chosen(rows, live=None, coverage=1.0):
    advice = recommended(rows, live, coverage)
    return advice and advice.row


def test_the_fastest_of_those_that_find_as_many_is_recommended():
    slow, fast, poor = row(HYBRID, 4.0, 1.0), row(COLD, 1.0, 0.99), row(COLD, 0.5, 0.9)
    assert chosen([slow, fast, poor]) is fast
    assert recommended([slow, fast, poor], poor, 1.0).equals == ()
    emptier = row(replace(HYBRID, coverage=0.1), 1.0, 1.0)
    assert chosen([emptier, slow]) is slow, "tuning does not change how full the cache is"
    assert chosen([emptier]) is emptier
    assert recommended([], None, 1.0) is None
    unanswered = measured(COLD, p95=None, recall_at_1=None, agreement=None)
    assert chosen([unanswered, slow]) is slow


def test_chance_does_not_choose_among_settings_that_cannot_be_told_apart():
    used, other = row(HYBRID, 1.05, 0.99, sure=0.1), row(COLD, 1.0, 1.0, sure=0.1)
    for live, expected in ((used, used), (other, other), (None, other)):
        advice = recommended([used, other], live, 1.0)
        assert advice.row is expected
        assert len(advice.equals) == 1
    lean, fat = row(HYBRID, 1.05, 1.0, sure=0.1, memory_bytes=1), row(COLD, 1.0, 1.0, sure=0.1)
    assert chosen([fat, lean]) is lean
    sure = row(HYBRID, 1.5, 0.99, sure=0.1)
    assert chosen([sure, other], live=sure) is other, "what is shown to be slower does not stay"
    few = replace(sure, p95=Estimate(1.5, 0.9, None))
    assert chosen([few, other], live=few) is few, "too few searches to tell"


def test_where_nobody_is_known_agreement_is_the_judge():
    strangers = row(HYBRID, 1.0, None)
    assert quality(strangers) is strangers.agreement
    assert chosen([strangers]) is strangers


def test_searches_for_one_probe_again_make_no_interval_narrower():
    once = {number: [float(number > 0)] for number in range(10)}
    often = {number: verdicts * 20 for number, verdicts in once.items()}
    assert share_of_probes(often) == share_of_probes(once) == stats.share(9, 10)
    assert share_of_probes({0: [True, False], 1: [True, True]}) == stats.share(1.5, 2)
    assert share_of_probes({}) is None


def test_a_run_is_expected_to_take_as_long_as_the_last_of_its_like(make_run):
    def kept(templates: int, **values: object):
        run = make_run(gallery_templates=templates, **values)
        return summary_of(KeptRun(1, run.at, run.name, summarised(run)))

    wanted = RunRequest((HYBRID, COLD), count=300, concurrencies=(1, 8))
    like, unlike = kept(1000, duration_s=3.0), kept(10, duration_s=99.0)
    broken_off = kept(1000, duration_s=99.0, complete=False)
    assert expected_seconds(wanted, 1500, [broken_off, unlike, like]) == pytest.approx(12.0)
    assert expected_seconds(wanted, 10**6, [like]) == pytest.approx(2 * 0.5 + 1200 * 0.003)
    assert expected_seconds(replace(wanted, time_limit_s=2.0), 1500, [like]) == 2.0
    assert alike(1000, 2000)
    assert not alike(1000, 2001)
