"""Comparisons from beginning to end, on a real gallery with real FAISS and Qdrant Edge."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from core.benchmark import oracle, probes, runner
from core.benchmark import statistics as stats
from core.benchmark.benchmarks import Benchmarks
from core.benchmark.model import ProbeKind, ProbeSource, RunRequest, Setting
from core.domain.errors import BadInput, Busy, Unavailable, Unusable
from core.domain.search import Decision, Strategy
from core.domain.templates import NewTemplate
from core.store.tiers.faiss import index_builder
from core.store.trial import Trial
from tests.unit.benchmark.conftest import EACH, ended, fill, finished
from tests.unit.store.kit import eventually, faces, unit

EVERY = tuple(Setting(strategy) for strategy in Strategy)
ENDLESS = RunRequest(EVERY, count=10_000, time_limit_s=600.0)


def test_an_empty_gallery_says_what_is_missing(benchmarks):
    with pytest.raises(Unusable) as problem:
        benchmarks.start(RunRequest(EVERY))
    assert problem.value.code == "empty_gallery"
    assert benchmarks.progress() is None
    assert benchmarks.outcome() is None


def test_one_person_with_one_template_can_be_compared(service, benchmarks):
    gallery = fill(service, 1)
    run = finished(benchmarks, RunRequest(EVERY, count=10))
    assert gallery.shape[0] == run.gallery_people == 1
    assert all(row.agreement and row.agreement.value == 1.0 for row in run.rows)


def test_every_figure_of_a_run_agrees_with_brute_force(service, benchmarks, monkeypatch):
    """Searches are watched on their way: what the run says of them is counted anew, from scratch."""
    gallery = fill(service, 60)
    seen = []
    search = Trial.search

    def watched(self, probe, **asked):
        result = search(self, probe, **asked)
        seen.append((probe.copy(), asked["strategy"], result))
        return result

    monkeypatch.setattr(Trial, "search", watched)
    monkeypatch.setattr(runner, "WARM_UP", 0)
    request = RunRequest(EVERY, name="all", count=50, seed=7)
    run = finished(benchmarks, request)
    assert (run.name, run.complete, run.gallery_templates, run.request.seed) == ("all", True, 60 * EACH, 7)
    assert (run.gallery_people, run.dimension, run.pack) == (60, 128, service.engine.pack.id)
    assert run.machine.cores >= 1
    assert [row.setting.strategy for row in run.rows] == list(Strategy)
    vectors = gallery.reshape(-1, gallery.shape[2]).astype(np.float64)
    for row in run.rows:
        own = [(probe, result) for probe, strategy, result in seen if strategy is row.setting.strategy]
        ms = [result.timings.total for _, result in own]
        assert row.n == len(own) == 50
        for name, q in (("p50", 50), ("p95", 95), ("p99", 99)):
            assert getattr(row, name).value == pytest.approx(np.percentile(ms, q))
        assert row.latency.ms == pytest.approx(sorted(ms), abs=1e-4)
        right, known, firsts, near = 0, 0, 0, 0.0
        for probe, result in own:
            best = (vectors @ probe).reshape(60, EACH).max(axis=1)
            order = np.argsort(-best)
            expected = service.store.rule().decide(best[order[:2]].tolist())
            first = bool(result.best) and result.best.user_id == f"p{order[0]}"
            right += result.decision is expected and (first or expected is Decision.UNKNOWN)
            known += expected is not Decision.UNKNOWN
            firsts += first and expected is not Decision.UNKNOWN
            near += len({c.user_id for c in result.candidates} & {f"p{n}" for n in order[:5]}) / 5
        assert row.agreement.value == right / 50
        assert row.recall_at_1.value == firsts / known
        assert row.recall_at_5.value == pytest.approx(near / 50)
        joins = [result.timings.join for _, result in own]
        assert row.stages["join"] == pytest.approx(np.mean(joins))
        assert row.stages["merge"] > 0
        assert sum(row.sources.values()) == pytest.approx(1.0)
    points = [(row.p95.value, row.recall_at_1.value) for row in run.rows]
    fastest = min(place for place, point in enumerate(points) if point == min(points))
    assert fastest in run.pareto
    assert benchmarks.get(run.id) == run
    assert benchmarks.outcome().run == run


def test_settings_and_crowds_are_measured_each_by_itself(service, benchmarks):
    fill(service, 300)
    settings = (
        Setting(Strategy.HYBRID),
        Setting(Strategy.HYBRID, coverage=0.1),
        Setting(Strategy.FAISS_FIRST, index_type="IVF", nprobe=1),
        Setting(Strategy.FAISS_FIRST, index_type="IVF", nprobe=16),
        Setting(Strategy.QDRANT_ONLY, search_ef=16),
    )
    run = finished(benchmarks, RunRequest(settings, count=60, concurrencies=(8, 1)))
    assert [(row.concurrency, row.setting) for row in run.rows] == [(c, s) for c in (1, 8) for s in settings]
    by = {(row.setting, row.concurrency): row for row in run.rows}
    full, tenth, narrow, wide, cold = (by[setting, 1] for setting in settings)
    assert (full.hot_templates, full.hot_kind) == (300 * EACH, "Flat")
    assert 0 < tenth.hot_templates <= 90
    assert tenth.memory_bytes < full.memory_bytes
    assert tenth.wrong_cache_top1.value > 0.5, "the winner is rarely in a tenth of the gallery"
    assert tenth.agreement.value == 1.0, "Qdrant has everybody"
    assert narrow.hot_kind.startswith("IVF")
    assert narrow.recall_at_5.value < wide.recall_at_5.value <= 1.0
    assert (cold.hot_kind, cold.memory_bytes, cold.wrong_cache_top1) == (None, 0, None)
    assert "hot" not in cold.stages
    assert all(row.n == 60 and row.throughput_per_s.value > 0 for row in run.rows)


def test_a_run_is_no_part_of_the_live_metrics_and_promotes_nobody(make_service):
    service = make_service(faiss_cache_size=12)
    fill(service, 20)
    held = set(service.store.hot.ids().tolist())
    before = service.metrics.snapshot().hit_rate.queries
    apart = service.monitor.stats()["totals"]["uncounted_searches"]
    benchmarks = Benchmarks(service)
    run = finished(benchmarks, RunRequest(EVERY, count=40))
    benchmarks.close()
    warm_up = len(run.rows) * runner.WARM_UP
    assert service.monitor.stats()["totals"]["uncounted_searches"] - apart == 40 * len(EVERY) + warm_up
    assert service.metrics.snapshot().hit_rate.queries == before
    assert set(service.store.hot.ids().tolist()) == held
    assert service.store.loads()["search"].rows == 0


def test_that_a_run_is_on_can_be_read_in_the_metrics(service, benchmarks):
    def told() -> tuple[float, bool]:
        running = service.monitor.stats()["comparisons_running"]
        return running, f"robi_comparisons_running {running}" in service.monitor.prometheus().decode()

    fill(service, 20)
    assert told() == (0.0, True)
    benchmarks.start(ENDLESS)
    assert told() == (1.0, True)
    benchmarks.cancel()
    ended(benchmarks)
    assert told() == (0.0, True)


def test_who_cancels_is_told_that_it_ends(service, benchmarks, monkeypatch):
    fill(service, 5)
    built, building, trial = threading.Event(), threading.Event(), service.store.trial

    def opens(_options):
        building.set()
        built.wait(30)
        return trial(None)

    monkeypatch.setattr(service.store, "trial", opens)
    benchmarks.start(RunRequest(EVERY, count=10))
    assert building.wait(30)
    assert "Building a cache of 100%" in benchmarks.progress().doing
    benchmarks.cancel()
    assert benchmarks.progress().doing == "Ending"
    assert benchmarks.progress().eta_s is None
    built.set()
    assert ended(benchmarks).cancelled


@pytest.mark.parametrize("limit", [0.5, 600.0])
def test_a_cache_that_is_being_built_ends_with_its_run(service, benchmarks, monkeypatch, limit):
    fill(service, 20)
    loading, go_on, hot_set = threading.Event(), threading.Event(), service.ledger.feed.hot_set

    def slowly(limit, *, spare=0, progress):
        def told(share):
            loading.set()
            go_on.wait(30)
            progress(share)

        return hot_set(limit, spare=spare, progress=told)

    monkeypatch.setattr(service.ledger.feed, "hot_set", slowly)
    monkeypatch.setattr(index_builder, "seal", lambda *_: pytest.fail("it went on"))
    benchmarks.start(RunRequest(EVERY, count=10, time_limit_s=limit))
    assert loading.wait(30)
    if limit == 600.0:
        benchmarks.cancel()
    else:
        time.sleep(limit)
    go_on.set()
    outcome = ended(benchmarks)
    assert outcome.cancelled or "time limit" in outcome.error.message
    assert outcome.cancelled == (limit == 600.0)
    assert benchmarks.runs() == ()
    assert not any(thread.name.startswith("trial") for thread in threading.enumerate())


def test_who_cancels_at_the_very_end_keeps_nothing_either(service, benchmarks, monkeypatch):
    fill(service, 5)
    measured = runner.Runner.run

    def late(self):
        run = measured(self)
        benchmarks.cancel()
        return run

    monkeypatch.setattr(runner.Runner, "run", late)
    benchmarks.start(RunRequest(EVERY, count=5))
    assert ended(benchmarks).cancelled
    assert benchmarks.runs() == ()


def test_a_cache_without_room_for_anybody_is_noted(service, benchmarks):
    fill(service, 3)
    tenth = tuple(Setting(strategy, coverage=0.1) for strategy in (Strategy.HYBRID, Strategy.FAISS_FIRST))
    run = finished(benchmarks, RunRequest(tenth, count=20))
    assert all(row.hot_templates == 0 and row.wrong_cache_top1 is None for row in run.rows)
    assert run.rows[0].agreement.value == 1.0, "Qdrant has everybody"
    assert sum("it was empty" in note for note in run.notes) == 1


def test_a_cache_that_held_everybody_is_not_called_empty(service, benchmarks):
    fill(service, 20)
    run = finished(benchmarks, RunRequest((Setting(Strategy.FAISS_FIRST),), count=5))
    assert run.rows[0].hot_templates == run.gallery_templates
    assert not any("empty" in note for note in run.notes)


def test_a_cancelled_run_leaves_nothing(service, benchmarks):
    fill(service, 20)
    benchmarks.start(ENDLESS)
    with pytest.raises(Busy):
        benchmarks.start(ENDLESS)
    assert eventually(lambda: (benchmarks.progress() or None) and benchmarks.progress().share > 0.2)
    assert benchmarks.outcome() is None
    benchmarks.cancel()
    outcome = ended(benchmarks)
    assert outcome.cancelled
    assert outcome.run is outcome.error is None
    assert benchmarks.runs() == ()
    assert benchmarks.progress() is None
    assert finished(benchmarks, RunRequest(EVERY, count=5)).id, "the next one runs as ever"


def test_the_time_limit_keeps_whole_rounds_and_says_so(service, benchmarks):
    fill(service, 20)
    run = finished(benchmarks, replace(ENDLESS, concurrencies=(1, 8), time_limit_s=2.5))
    assert not run.complete
    assert any("time limit" in note for note in run.notes)
    assert {row.concurrency for row in run.rows} == {1}
    assert len({row.n for row in run.rows}) == 1, "every setting has had as many turns"
    assert run.rows[0].n % runner.BLOCK == 0
    assert benchmarks.runs()[0].complete is False


def test_a_limit_too_short_for_anything_keeps_nothing(service, benchmarks):
    fill(service, 5)
    benchmarks.start(replace(ENDLESS, time_limit_s=1e-3))
    outcome = ended(benchmarks)
    assert outcome.error.code == "bad_parameter"
    assert benchmarks.runs() == ()


def test_a_clock_that_is_set_changes_nothing(service, benchmarks, monkeypatch):
    fill(service, 5)
    monkeypatch.setattr(time, "time", iter(range(10**9, 0, -(10**6))).__next__)
    run = finished(benchmarks, RunRequest(EVERY, count=20, time_limit_s=60))
    assert run.complete
    assert run.duration_s > 0
    assert all(row.p50.value > 0 for row in run.rows)


def test_when_every_search_fails_it_says_so_and_keeps_nothing(service, benchmarks, monkeypatch):
    fill(service, 5)

    def fails(*_probe, **_asked):
        raise Unavailable("tier_unavailable", "It is away.")

    monkeypatch.setattr(Trial, "search", fails)
    benchmarks.start(RunRequest(EVERY, count=10))
    outcome = ended(benchmarks)
    assert outcome.error.code == "search_unavailable"
    assert "tier_unavailable" in outcome.error.message
    assert benchmarks.runs() == ()


def test_some_failures_are_counted_by_code(service, benchmarks, monkeypatch):
    fill(service, 5)
    search = Trial.search

    def fails(self, probe, **asked):
        if asked["strategy"] is Strategy.QDRANT_ONLY:
            raise Unavailable("tier_unavailable", "It is away.")
        return search(self, probe, **asked)

    monkeypatch.setattr(Trial, "search", fails)
    run = finished(benchmarks, RunRequest(EVERY, count=10))
    gone = run.rows[list(Strategy).index(Strategy.QDRANT_ONLY)]
    assert (gone.n, gone.p95, gone.agreement, dict(gone.failures)) == (
        0,
        None,
        None,
        {"tier_unavailable": 10},
    )
    assert run.rows.index(gone) not in run.pareto
    assert benchmarks.get(run.id) == run


def test_with_qdrant_away_the_others_are_measured_and_the_reader_is_told(make_service):
    service = make_service(qdrant_url="http://127.0.0.1:1", qdrant_grpc_port=1)
    for number, vectors in enumerate(faces(np.random.default_rng(1), 5, EACH, 128)):
        service.ledger.people.enroll(
            f"p{number}", f"P {number}", [NewTemplate(v, 0.9, "api") for v in vectors]
        )
    benchmarks = Benchmarks(service)
    run = finished(benchmarks, RunRequest(EVERY, count=20))
    benchmarks.close()
    rows = {row.setting.strategy: row for row in run.rows}
    for strategy in (Strategy.HYBRID, Strategy.FAISS_FIRST):
        assert rows[strategy].n == 20
        assert rows[strategy].agreement.value == 1.0
    assert rows[Strategy.QDRANT_ONLY].failures == {"search_unavailable": 20}
    assert rows[Strategy.QDRANT_ONLY].p95 is None
    assert any("Not in step" in note and "Qdrant" in note for note in run.notes)


def test_an_unexpected_failure_has_an_outcome_too(service, benchmarks, monkeypatch):
    fill(service, 5)
    monkeypatch.setattr(oracle, "exact", lambda *_: 1 / 0)
    benchmarks.start(RunRequest(EVERY, count=10))
    assert ended(benchmarks).error.code == "internal_error"


def test_closing_ends_a_run(service, benchmarks):
    fill(service, 20)
    benchmarks.start(ENDLESS)
    benchmarks.close()
    assert benchmarks.outcome().cancelled
    benchmarks.close()
    with pytest.raises(Unavailable):
        benchmarks.start(ENDLESS)


def test_a_changed_gallery_is_noted(service, benchmarks, monkeypatch):
    fill(service, 20)
    exact = oracle.exact

    def erasing(*asked):
        service.erasures.erase("p2")
        return exact(*asked)

    monkeypatch.setattr(oracle, "exact", erasing)
    run = finished(benchmarks, RunRequest(EVERY, count=20))
    assert any("enrolled or erased" in note for note in run.notes)


@pytest.mark.parametrize(
    "request_",
    [
        RunRequest(()),
        RunRequest(EVERY, count=0),
        RunRequest(EVERY, k=0),
        RunRequest(EVERY, threshold=float("nan")),
        RunRequest(EVERY, concurrencies=()),
        RunRequest(EVERY, concurrencies=(0,)),
        RunRequest(EVERY, time_limit_s=0),
        RunRequest(EVERY, seed=-1),
        RunRequest(EVERY, name="x" * 101),
        RunRequest((Setting(Strategy.HYBRID, coverage=0),)),
        RunRequest((Setting(Strategy.HYBRID, index_type="HNSW"),)),
        RunRequest((Setting(Strategy.HYBRID, nprobe=0),)),
        RunRequest((Setting(Strategy.HYBRID, search_ef=5000),)),
        RunRequest(EVERY, probes=ProbeSource(similarity=0)),
        RunRequest(EVERY, probes=ProbeSource(strangers=2)),
        RunRequest(EVERY, probes=ProbeSource(ProbeKind.PHOTOS)),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_begins(service, benchmarks, request_):
    fill(service, 2)
    with pytest.raises(BadInput) as problem:
        benchmarks.start(request_)
    assert problem.value.code == "bad_parameter"
    assert benchmarks.progress() is None


# ---------------------------------------------------------------- probes


def test_probes_of_the_gallery_have_the_stated_similarity_and_share_of_strangers(service):
    vectors = fill(service, 20).reshape(20 * EACH, -1)
    drawn = probes.draw(service, ProbeSource(similarity=0.8, strangers=0.25), 100, 3)
    best = (drawn @ vectors.T).max(axis=1)
    assert np.allclose(np.linalg.norm(drawn, axis=1), 1, atol=1e-5)
    assert (best < 0.5).sum() == 25
    assert (best >= 0.8 - 1e-4).sum() == 75
    again = probes.draw(service, ProbeSource(similarity=0.8, strangers=0.25), 100, 3)
    assert np.array_equal(drawn, again), "the seed decides"
    assert not np.array_equal(drawn, probes.draw(service, ProbeSource(similarity=0.8), 100, 4))


def test_photos_are_searched_for_and_not_kept(service, benchmarks):
    gallery = fill(service, 5)
    source = ProbeSource(ProbeKind.PHOTOS, embeddings=3 * gallery[:2, 0])
    run = finished(benchmarks, RunRequest(EVERY, probes=source, count=10))
    assert all(row.n == 10 and row.recall_at_1.value == 1.0 for row in run.rows)
    assert run.request.probes.embeddings is None
    assert any("2 different probes" in note for note in run.notes)
    for row in run.rows:
        assert row.recall_at_1 == row.agreement == stats.share(2, 2), "ten searches, but of two faces"
    twice = replace(source, embeddings=np.repeat(gallery[:2, 0], 3, axis=0))
    assert np.allclose(probes.draw(service, twice, 10, 0), gallery[:2, 0], atol=1e-6), "each face once"
    with pytest.raises(BadInput):
        probes.draw(service, ProbeSource(ProbeKind.PHOTOS, embeddings=np.ones((1, 3))), 10, 0)


def test_real_probes_are_there_only_where_they_are_kept(make_service):
    gallery_less = make_service()
    fill(gallery_less, 3)
    off = Benchmarks(gallery_less)
    gallery_less.store.search(unit(np.ones(128)))
    assert off.kept_probes() == 0
    off.start(RunRequest(EVERY, probes=ProbeSource(ProbeKind.RECENT)))
    outcome = ended(off)
    assert "ROBI_KEEP_PROBES" in outcome.error.hint
    off.close()

    keeping = make_service(robi_keep_probes=3)
    gallery = fill(keeping, 5)
    on = Benchmarks(keeping)
    for number in (0, 1, 2, 3):
        keeping.store.search(gallery[number, 0])
    assert on.kept_probes() == 3, "the newest"
    assert np.allclose(keeping.store.recent.newest(9), gallery[[3, 2, 1], 0])
    keeping.erasures.erase("p2")
    assert np.allclose(keeping.store.recent.newest(9), gallery[[3, 1], 0]), "erased means never again"
    run = finished(on, RunRequest(EVERY, probes=ProbeSource(ProbeKind.RECENT), count=6))
    assert run.rows[0].recall_at_1.value == 1.0
    assert on.kept_probes() == 2, "a run's probes are not kept as real ones"
    on.close()


def test_recorded_scores_are_the_newest_decisions(service, benchmarks):
    gallery = fill(service, 3)
    for number in range(3):
        service.events.note(service.store.search(gallery[number, 0]), "1:N")
    service.events.note(service.store.search(unit(np.random.default_rng(9).standard_normal(128))), "1:N")
    scores = benchmarks.recorded_scores()
    assert dict(scores.decisions) == {"match": 3, "unknown": 1}
    assert len(scores.similarities) == 4
    assert benchmarks.recorded_scores(limit=2).decisions == {"match": 1, "unknown": 1}
