"""One calibration at a time in the background, on a real gallery."""

import csv
import gc
import io
import json
import threading
import time

import numpy as np
import pytest

from core.calibration import export, job
from core.calibration.job import CalibrationJob
from core.calibration.model import Target
from core.calibration.preview import preview, recent_decisions
from core.calibration.progress import ProgressWatch
from core.calibration.threshold_choice import choose
from core.calibration.uploaded import Evaluation, Upload
from core.domain.errors import RobiError
from core.services.demo import load_demo_gallery
from tests.unit.calibration.conftest import enroll


@pytest.fixture
def calibrations(service):
    made = CalibrationJob(service)
    yield made
    made.close()


def finish(calibrations):
    until = time.monotonic() + 60
    while calibrations.progress() is not None:
        assert time.monotonic() < until
        time.sleep(0.01)


def study_of(calibrations, **options):
    calibrations.start(**options)
    finish(calibrations)
    assert calibrations.failure() is None
    return calibrations.study()


def test_a_study_of_the_gallery(service, calibrations):
    enroll(service, [2, 3, 1, 2] * 5, spread=0.05)
    service.tuning.confirm_pair("p0", "p1")
    study = study_of(calibrations, seed=4)
    assert study.missing is None
    assert study.gallery_seq == service.ledger.feed.head()
    assert study.calibration.scores.templates == study.calibration.gallery_templates == 40
    assert study.calibration.scores.seed == 4
    assert study.calibration.rule == service.store.rule()
    assert len(study.pairs) == job.closest.__defaults__[0]
    assert [(p.a_user_id, p.b_user_id) for p in study.pairs if p.confirmed] in ([], [("p0", "p1")])
    assert len(study.weak) == 35
    assert len(study.map.points) == 40


def test_it_says_when_the_gallery_has_changed_since(service, calibrations):
    assert not calibrations.stale()
    enroll(service, [2, 2])
    study_of(calibrations)
    assert not calibrations.stale()
    service.erasures.erase("p1")
    assert calibrations.stale()


def test_whoever_is_erased_is_gone_from_a_study_in_memory(service, calibrations):
    enroll(service, [2, 2, 3, 1])
    before = study_of(calibrations)
    assert "p1" in before.map.user_ids
    service.erasures.erase("p1")
    service.people.update("p2", name="Somebody Else")
    after = calibrations.study()
    assert after is calibrations.study()  # worked out once
    assert {pair.a_user_id for pair in after.pairs} | {pair.b_user_id for pair in after.pairs} == {
        "p0",
        "p2",
        "p3",
    }
    assert {weak.user_id for weak in after.weak} == {"p0", "p2"}
    assert after.map.user_ids.count("p1") == 0
    assert len(after.map.points) == len(after.map.template_ids) == len(after.map.quality) == 6
    kept = [place for place, user_id in enumerate(before.map.user_ids) if user_id != "p1"]
    assert np.array_equal(after.map.points, before.map.points[kept])
    assert after.calibration is before.calibration


def test_merged_people_are_no_pair_any_more(service, calibrations):
    enroll(service, [2, 2, 2])
    study_of(calibrations)
    service.people.merge("p0", "p1")
    assert {(p.a_user_id, p.b_user_id) for p in calibrations.study().pairs} == {("p1", "p2")}


def test_an_empty_gallery_one_person_and_many_with_one_photo_each(service, calibrations):
    calibrations.start()
    finish(calibrations)
    assert calibrations.failure().code == "empty_gallery"
    assert calibrations.study() is None
    enroll(service, [3])
    study = study_of(calibrations)
    assert study.calibration is None
    assert "only one person" in study.missing
    service.erasures.erase("p0")
    load_demo_gallery(service)
    study = study_of(calibrations)
    assert study.missing is None
    assert study.calibration.figures.separation is None
    document = json.loads(export.to_json(study.calibration))
    assert document["figures"]["separation"] is None
    assert "fnmr" not in document["curve"]
    assert len(document["curve"]["fmr"]) == len(document["curve"]["threshold"])
    assert "fnir" not in export.to_csv(study.calibration).splitlines()[0]
    assert len(study.pairs) == 28  # these can be said all the same
    assert study.weak == ()
    assert len(study.map.points) == 8


def test_cancelling_keeps_what_was_there(service, calibrations, monkeypatch):
    enroll(service, [2, 2])
    before = study_of(calibrations)
    reached, go_on = threading.Event(), threading.Event()

    real = job.read

    def read(*arguments):
        reached.set()
        go_on.wait(10)
        return real(*arguments)

    monkeypatch.setattr(job, "read", read)
    calibrations.start()
    assert reached.wait(10)
    with pytest.raises(RobiError) as problem:
        calibrations.start()
    assert problem.value.code == "busy"
    calibrations.cancel()
    go_on.set()
    finish(calibrations)
    assert calibrations.failure().code == "cancelled"
    assert calibrations.study() is before
    monkeypatch.undo()
    assert study_of(calibrations) is not before  # and another one can begin


def test_a_failure_nobody_foresaw_is_a_sentence(service, calibrations, monkeypatch):
    for error, code in ((ZeroDivisionError, "internal_error"), (MemoryError, "not_enough_memory")):

        def broken(*_arguments, error=error):
            raise error

        monkeypatch.setattr(job, "read", broken)
        calibrations.start()
        finish(calibrations)
        assert calibrations.failure().code == code
        assert calibrations.study() is None


def test_a_sample_of_no_size_is_refused(calibrations):
    for impostors in (0, job.MOST_IMPOSTORS + 1):
        with pytest.raises(RobiError) as problem:
            calibrations.start(impostors=impostors)
        assert problem.value.code == "bad_parameter"
    assert calibrations.progress() is None


def test_an_uploaded_sets_figures_are_whose_who_asked_for_them_and_go_with_them(
    calibrations, photos, variants
):
    uploads = [Upload(f"{name}/1.jpg", photos[name]) for name in ("hanks", "astronaut")]
    uploads += [Upload(f"{name}/2.jpg", variants[name]) for name in ("hanks", "astronaut")]
    first = calibrations.start_evaluation(uploads)
    assert first.result(60).enrolled == 4
    assert calibrations.failure() is None
    second = calibrations.start_evaluation(uploads[:1])
    assert second.exception(60).code == calibrations.failure().code == "not_enough_templates"
    assert first.result().enrolled == 4, "another engineer's set does not touch it"
    del first, second
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Evaluation)]


def test_a_bad_archive_is_refused_at_once(calibrations):
    with pytest.raises(RobiError) as problem:
        calibrations.start_evaluation([Upload("set.zip", b"no zip")])
    assert problem.value.code == "bad_archive"
    assert calibrations.progress() is None


def test_searches_go_on_meanwhile(service, calibrations):
    vectors = enroll(service, [2] * 30, spread=0.05)
    service.store.sync(service.ledger.feed.head())
    calibrations.start(impostors=job.MOST_IMPOSTORS)
    assert service.matching.search(vectors[0].tolist()).best.user_id == "p0"
    finish(calibrations)


def test_closing_stops_what_runs(service):
    enroll(service, [2] * 30)
    calibrations = CalibrationJob(service)
    calibrations.start()
    calibrations.close()
    assert calibrations.progress() is None


def test_a_study_tells_how_far_it_is_and_stops_when_told_to(service):
    enroll(service, [2, 2, 2])
    shares = []
    made = job.study(service, ProgressWatch(lambda p: shares.append((p.doing, p.share))))
    assert made.gallery_seq == service.ledger.feed.head()
    assert [share for _, share in shares] == sorted(share for _, share in shares)
    assert len({doing for doing, _ in shares}) == 5
    with pytest.raises(RobiError) as problem:
        job.study(service, ProgressWatch(cancelled=lambda: True))
    assert problem.value.code == "cancelled"


# ---------------------------------------------------------------- exports


def test_every_number_is_in_the_export(service, calibrations):
    enroll(service, [2, 3, 1, 2] * 5, spread=0.05)
    service.tuning.confirm_pair("p0", "p1", 0.125)
    study = study_of(calibrations)
    made = study.calibration
    choice = choose(made, Target(1, 2, "1:N"))
    shown = preview(recent_decisions(service.ledger), service.store.rule(), 0.05)
    more = (
        export.of_study(study, service.people.pairs()) | export.of_choice(choice) | export.of_preview(shown)
    )
    document = json.loads(export.to_json(made, more))
    separation = document["figures"]["separation"]
    assert separation["eer"] == made.figures.separation.eer
    assert separation["eer_interval"]["high"] == made.figures.separation.eer_interval.high
    assert document["choice"]["threshold"] == choice.threshold
    assert document["choice"]["miss"]["interval"]["low"] == choice.miss.interval.low
    assert document["preview"]["changes"] == 0
    assert document["sample"]["impostor"] == len(made.scores.impostor)
    assert document["confusable_pairs"][0]["similarity"] == study.pairs[0].similarity
    assert document["confirmed_pairs"] == [{"user_ids": ["p0", "p1"], "margin": 0.125}]
    assert document["weak_templates"][0]["own_best"] == study.weak[0].own_best
    assert sum(document["histogram"]["genuine"]) == len(made.scores.genuine)
    assert "Person" not in json.dumps(document)  # no names
    assert any("ISO/IEC 19795-1" in sentence for sentence in document["methods"])


def test_the_csv_is_the_curve(service, calibrations):
    enroll(service, [2, 2, 3])
    made = study_of(calibrations).calibration
    rows = list(csv.DictReader(io.StringIO(export.to_csv(made))))
    assert len(rows) == len(made.curve.thresholds)
    for name, values in (
        ("threshold", made.curve.thresholds),
        ("fmr", made.curve.fmr.value),
        ("fnmr_high", made.curve.fnmr.high),
        ("fpir_decided_low", made.curve.fpir_decided.low),
        ("review", made.curve.review),
        ("fpir_x100", made.curve.extrapolated[2].fpir),
        ("fnir_x10", made.curve.extrapolated[1].fnir),
    ):
        assert np.allclose([float(row[name]) for row in rows], values, atol=1e-9)
    document = json.loads(export.to_json(made))
    assert document["curve"]["fmr"] == [float(row["fmr"]) for row in rows]
