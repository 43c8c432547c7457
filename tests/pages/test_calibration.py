"""Calibration: measured in the background, a threshold from evidence, applied with a reason, undone."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest
from scipy.special import ndtri
from streamlit.testing.v1 import AppTest

from core.calibration import export
from core.calibration.model import Calibration, Target
from core.calibration.threshold_choice import choose
from core.domain.events import NewEvent
from core.domain.search import Candidate, Decision, SearchResult, SearchTimings, Source, Strategy
from core.services.service import RobiService
from dashboard.calibration import charts, det, words
from dashboard.shared.resources import Resources
from tests.galleries import Gallery, fill
from tests.pages.conftest import words_of

OpenPage = Callable[..., AppTest]


def enroll(shared: Resources, people: int, each: int) -> None:
    fill(shared.service.ledger, Gallery(people, each, shared.service.engine.pack.dimension))


def finished(shared: Resources, at: AppTest) -> AppTest:
    deadline = time.monotonic() + 60
    while shared.calibration.progress() is not None:
        assert time.monotonic() < deadline, "the calibration did not end"
        time.sleep(0.02)
    at.run()
    assert not at.exception, at.exception
    return at


def measure(shared: Resources, at: AppTest) -> AppTest:
    at.button("calibration_measure").click().run()
    return finished(shared, at)


def tab(at: AppTest, name: str) -> AppTest:
    at.session_state["calibration_tabs"] = name
    at.run()
    assert not at.exception, at.exception
    return at


def figures(shared: Resources) -> Calibration:
    study = shared.calibration.study()
    assert study is not None
    assert study.calibration is not None
    return study.calibration


def keys(at: AppTest) -> set[str]:
    return {str(button.key) for button in at.button}


@pytest.fixture
def measured(shared: Resources, open_page: OpenPage) -> AppTest:
    """The page after measuring 40 people with 3 templates each."""
    enroll(shared, 40, 3)
    return measure(shared, open_page("calibration"))


# ---------------------------------------------------------------- what can be measured


def test_nobody_enrolled_leaves_only_an_evaluation_set(open_page: OpenPage) -> None:
    at = open_page("calibration")
    assert "Nobody is enrolled yet" in words_of(at)
    assert [button.label for button in at.button if button.proto.type == "primary"] == [
        "Enroll the first person"
    ]
    assert "calibration_measure" not in keys(at)
    assert at.file_uploader


def test_opening_the_page_measures_nothing(shared: Resources, open_page: OpenPage) -> None:
    enroll(shared, 5, 2)
    at = open_page("calibration")
    assert "Nothing is measured yet" in words_of(at)
    assert shared.calibration.study() is None
    assert not at.metric


def test_what_is_missing_is_said_with_the_next_step(shared: Resources, open_page: OpenPage) -> None:
    enroll(shared, 1, 3)
    at = measure(shared, open_page("calibration"))
    study = shared.calibration.study()
    assert study is not None
    assert study.missing
    assert study.missing in words_of(at)
    assert not at.error
    for name in ("Error curves", "People", "Map"):
        tab(at, name)


def test_one_photo_each_gives_false_matches_and_says_that_misses_are_not_known(
    shared: Resources, open_page: OpenPage
) -> None:
    enroll(shared, 40, 1)
    at = measure(shared, open_page("calibration"))
    said = words_of(at)
    assert "How often known people are missed cannot be measured: of 40 people, none have two photos" in said
    assert {metric.label for metric in at.metric} == {"Smallest FMR", "Smallest FPIR"}
    assert "not known" in said
    assert "How often known people are missed is not known: that needs people with two photos." in said
    (chart,) = at.get("echarts_chart")
    assert "same person" not in chart.proto.alt
    at.number_input("target_probes").set_value(10).run()
    at.segmented_control("target_kind").set_value("1:1").run()
    at.button("target_take").click().run()
    assert at.slider("calibration_candidate").value != shared.service.tuning.now.threshold
    tab(at, "Error curves")
    assert len(at.get("echarts_chart")) == 2  # FMR and FPIR
    assert "No DET and no ROC" in words_of(at)
    for name in ("People", "Map"):
        tab(at, name)
        assert not at.error


def test_a_measurement_says_what_it_rests_on(shared: Resources, measured: AppTest) -> None:
    found, said = figures(shared), words_of(measured)
    assert "40 people · 120 templates · 120 genuine comparisons" in said
    assert f"{found.figures.impostors:,} impostor comparisons · seed {found.scores.seed}" in said
    assert "pack open" in said
    values = {metric.label: metric.value for metric in measured.metric}
    assert found.figures.separation is not None
    assert values["d′"] == f"{found.figures.separation.d_prime:.2f}"
    assert values["AUC"] == f"{found.figures.separation.auc:.4f}"
    assert values["Smallest FMR"] == words.rate(found.figures.smallest_fmr)
    assert found.figures.warnings
    assert all(sentence in said for sentence in found.figures.warnings)


def test_a_changed_gallery_asks_to_be_measured_again(shared: Resources, measured: AppTest) -> None:
    assert "The gallery has changed since" not in words_of(measured)
    shared.service.erasures.erase("p7")
    measured.run()
    assert "The gallery has changed since" in words_of(measured)
    measure(shared, measured)
    assert "The gallery has changed since" not in words_of(measured)
    assert "39 people" in words_of(measured)


def test_a_cancelled_measurement_leaves_the_last_one(shared: Resources, measured: AppTest) -> None:
    before = shared.calibration.study()
    enroll_more = Gallery(6000, 2, shared.service.engine.pack.dimension, seed=5)
    _add(shared.service, enroll_more)
    measured.button("calibration_measure").click().run()
    assert "calibration_cancel" in keys(measured)
    assert measured.button("calibration_measure").disabled
    measured.button("calibration_cancel").click().run()
    finished(shared, measured)
    assert shared.calibration.study() is before
    assert "cancel" in " ".join(f"{info.proto.title} {info.value}" for info in measured.info).lower()
    assert not measured.error


def _add(service: RobiService, gallery: Gallery) -> None:
    """More people behind those of another `fill`."""
    at = "2026-01-01 00:00:00"
    first = 100_000
    vectors = gallery.vectors()
    persons = [first + n // gallery.each for n in range(len(vectors))]
    with service.ledger.database.write() as connection:
        driver = connection.connection.cursor()
        driver.executemany(
            "INSERT INTO people (id, user_id, name, search_key, metadata, created_at, updated_at, active_at)"
            " VALUES (?, ?, ?, ?, '{}', ?, ?, ?)",
            [(p, f"p{p}", f"Person {p}", f"person {p}", at, at, at) for p in sorted(set(persons))],
        )
        driver.executemany(
            "INSERT INTO templates (id, person_id, vector, quality, via, created_at)"
            " VALUES (?, ?, ?, 1.0, 'api', ?)",
            [
                (first + n, p, row.tobytes(), at)
                for n, (p, row) in enumerate(zip(persons, vectors, strict=True))
            ],
        )


@pytest.mark.parametrize("name", ["Threshold", "Error curves", "People", "Map", "Evaluation set"])
def test_every_tab_draws_and_names_its_figures(measured: AppTest, name: str) -> None:
    tab(measured, name)
    assert not measured.error
    charts = [*measured.get("echarts_chart"), *measured.get("plotly_chart")]
    assert all(chart.proto.alt for chart in charts)
    assert bool(charts) == (name in ("Threshold", "Error curves", "Map"))
    primary = [button.label for button in measured.button if button.proto.type == "primary"]
    assert len(primary) <= 1


# ---------------------------------------------------------------- the threshold


def test_a_target_beyond_the_sample_is_refused_with_the_reason(measured: AppTest) -> None:
    assert "This gallery cannot support that target" in words_of(measured)  # 1 in 10,000 with 40 people


def test_a_supported_target_moves_the_handle(shared: Resources, measured: AppTest) -> None:
    measured.number_input("target_probes").set_value(10).run()
    measured.number_input("target_matches").set_value(2).run()
    said = words_of(measured)
    assert "cannot support" not in said
    measured.button("target_take").click().run()
    handle = measured.slider("calibration_candidate").value
    assert f"Threshold {handle:.3f}" in said.replace("*", "")
    curve = figures(shared).curve
    at = int(np.searchsorted(curve.thresholds, handle - 1e-9))
    assert curve.fpir_decided.value[at] <= 0.2


def test_a_threshold_is_previewed_applied_with_a_reason_and_undone(
    shared: Resources, measured: AppTest
) -> None:
    service = shared.service
    for similarity in (0.45, 0.47, 0.80):
        service.events.note(_recognised(similarity), "1:1")
    assert "threshold_apply" not in keys(measured)
    measured.slider("calibration_candidate").set_value(0.6).run()
    said = words_of(measured)
    assert "2 decisions of the last 30 days would change" in said.replace("*", "")
    assert "1 would not." in said

    measured.button("threshold_apply").click().run()
    measured.button("threshold_apply_now").click().run()
    assert "reason" in f"{measured.error[0].proto.title}".lower()
    assert service.tuning.now.threshold == service.settings.face_threshold

    measured.text_area("threshold_reason").set_value("x" * 1000).run()
    measured.button("threshold_apply_now").click().run()
    assert "1 to 300 characters" in measured.error[0].proto.title
    assert service.tuning.latest() == ()

    measured.text_area("threshold_reason").set_value("Two strangers got in.").run()
    measured.button("threshold_apply_now").click().run()
    assert service.tuning.now.threshold == 0.6
    assert "The threshold is 0.600 now; it was 0.400." in words_of(measured)
    assert "Two strangers got in." in words_of(measured)
    assert "threshold_apply_now" not in keys(measured)

    measured.run()
    assert "The threshold in effect, 0.600, was tuned" in words_of(measured)
    step = service.tuning.latest()[0]
    measured.button(f"calibration_undo_{step.id}").click().run()
    assert service.tuning.now.threshold == service.settings.face_threshold
    assert "was tuned" not in words_of(measured)


def test_decisions_that_nobody_can_know_are_counted_as_such(shared: Resources, measured: AppTest) -> None:
    detail = {"decision": "review", "similarity": 0.55, "mode": "1:N"}  # how far it led was not recorded
    shared.service.ledger.events.record([NewEvent(datetime.now(UTC), "verified", "p1", detail)])
    measured.slider("calibration_candidate").set_value(0.5).run()
    said = words_of(measured).replace("*", "")
    assert "0 decisions of the last 30 days would change. 0 would not. Of 1 it cannot be known" in said
    own = detail | {"decision": "match", "lead": 0.5, "threshold": 0.3}
    shared.service.ledger.events.record([NewEvent(datetime.now(UTC), "verified", "p1", own)])
    del measured.session_state["calibration_recent"]
    measured.run()
    assert "would change. 0 would not." in words_of(measured).replace("*", "")
    assert "1 more check had a threshold of the request’s own" in words_of(measured)


def test_a_threshold_that_cannot_be_is_refused_before_it_is_applied(
    shared: Resources, measured: AppTest
) -> None:
    measured.slider("calibration_candidate").set_value(1.0).run()
    assert measured.button("threshold_apply").disabled
    assert "The threshold must be between 0 and 1." in words_of(measured)


def test_leaving_the_dialog_changes_nothing(shared: Resources, measured: AppTest) -> None:
    measured.slider("calibration_candidate").set_value(0.6).run()
    measured.button("threshold_apply").click().run()
    measured.button("threshold_apply_not").click().run()
    assert "threshold_apply_now" not in keys(measured)
    assert shared.service.tuning.latest() == ()


def _recognised(similarity: float) -> SearchResult:
    return SearchResult(
        candidates=(Candidate("p1", "Person 1", similarity, Source.LEDGER, 1),),
        decision=Decision.MATCH,
        strategy=Strategy.HYBRID,
        threshold=0.4,
        tiers=("ledger",),
        degraded=(),
        cache_top1_wrong=False,
        timings=SearchTimings(1.0),
    )


# ---------------------------------------------------------------- people


def _first_pair(shared: Resources) -> tuple[str, str]:
    study = shared.calibration.study()
    assert study is not None
    return study.pairs[0].a_user_id, study.pairs[0].b_user_id


def test_five_of_each_list_are_shown_until_more_are_asked_for(shared: Resources, measured: AppTest) -> None:
    tab(measured, "People")
    shown = [key for key in keys(measured) if key.startswith("merge_")]
    assert len(shown) == len([key for key in keys(measured) if key.startswith("ask_")]) == 5
    measured.button("calibration_pairs_more").click().run()
    assert len([key for key in keys(measured) if key.startswith("merge_")]) == 15
    assert len([key for key in keys(measured) if key.startswith("ask_")]) == 5
    for _ in range(4):
        measured.button("calibration_pairs_more").click().run()
    assert "calibration_pairs_more" not in keys(measured)  # these are all that were looked for


def test_a_pair_just_below_the_threshold_does_not_seem_to_reach_it(
    shared: Resources, measured: AppTest
) -> None:
    study = shared.calibration.study()
    assert study is not None
    closest = study.pairs[0].similarity
    threshold = closest + 1e-4
    shared.service.tuning.tune({"threshold": threshold}, "Just above the closest two.")
    tab(measured, "People")
    said = re.search(r"similarity \*\*(.+?)\*\* · just below the threshold", words_of(measured))
    assert said is not None
    assert float(said[1]) < threshold


def test_whoever_went_meanwhile_is_not_asked_about(shared: Resources, measured: AppTest) -> None:
    one, other = _first_pair(shared)
    tab(measured, "People")
    asking = measured.button(f"merge_{one}_{other}").click()
    shared.service.people.merge(one, other)  # somebody else did, the other way
    asking.run()
    assert not measured.exception
    assert "merge_now" not in keys(measured)
    assert "no longer enrolled" in " ".join(toast.value for toast in measured.toast)


def test_two_who_are_one_are_merged(shared: Resources, measured: AppTest) -> None:
    one, other = _first_pair(shared)
    tab(measured, "People")
    measured.button(f"merge_{one}_{other}").click().run()
    assert "This cannot be undone." in words_of(measured)
    measured.radio("merge_kept").set_value(other).run()
    measured.button("merge_now").click().run()
    assert shared.service.people.person(other).templates == 6
    assert shared.service.ledger.people.find(one) is None
    assert f"merge_{one}_{other}" not in keys(measured)
    assert "are one person now" in measured.toast[0].value  # also for who has scrolled down


def test_two_who_really_are_two_are_remembered_and_forgotten(shared: Resources, measured: AppTest) -> None:
    one, other = _first_pair(shared)
    tab(measured, "People")
    measured.button(f"two_{one}_{other}").click().run()
    measured.number_input("two_margin").set_value(0.12).run()
    measured.button("two_now").click().run()
    (pair,) = shared.service.people.pairs()
    assert set(pair.user_ids) == {one, other}
    assert pair.margin == 0.12
    assert "a match needs a lead of 0.12 between them" in words_of(measured)
    assert f"merge_{one}_{other}" not in keys(measured)
    forget = next(key for key in keys(measured) if key.startswith("forget_"))
    measured.button(forget).click().run()
    assert shared.service.people.pairs() == ()
    assert f"merge_{one}_{other}" in keys(measured)


def test_a_better_photo_is_asked_for(shared: Resources, measured: AppTest) -> None:
    study = shared.calibration.study()
    assert study is not None
    weakest = study.weak[0]
    tab(measured, "People")
    links = [link.proto.query_string for link in measured.get("page_link")]
    assert f"person={weakest.user_id}" in links
    measured.button(f"ask_{weakest.template_id}").click().run()
    assert shared.service.people.person(weakest.user_id).photo_asked_at is not None
    assert f"ask_{weakest.template_id}" not in keys(measured)
    assert "A new photo was asked for" in words_of(measured)


# ---------------------------------------------------------------- map, evaluation set, exports


def test_the_map_says_how_much_it_keeps(shared: Resources, measured: AppTest) -> None:
    tab(measured, "Map")
    study = shared.calibration.study()
    assert study is not None
    assert study.map is not None
    assert f"the two axes keep {sum(study.map.explained):.0%} of the variance" in words_of(measured)
    assert "closeness here is only a hint" in words_of(measured)
    measured.session_state["calibration_map_colour"] = "similarity"
    measured.run()
    measured.text_input("calibration_map_person").set_value("nobody").run()
    assert measured.error[0].proto.title
    assert not measured.exception


def test_an_evaluation_set_is_measured_and_forgotten(
    shared: Resources, open_page: OpenPage, photos: dict[str, bytes], variants: dict[str, bytes]
) -> None:
    at = open_page("calibration")
    files = {
        f"{name}/{number}.jpg": data
        for name in variants
        for number, data in enumerate((photos[name], variants[name]))
    }
    at.file_uploader[0].upload("set.zip", _zip({**files, "notes.txt": b"junk"})).run()
    at.button("evaluation_start").click().run()
    finished(shared, at)
    assert "2 people, 4 images" in words_of(at)
    assert "nothing of the set is kept" in words_of(at)
    assert at.metric
    assert "None at the threshold in effect, 0.400" in words_of(at)
    shared.service.tuning.tune({"threshold": 0.99}, "To see an error.")
    at.run()
    assert "At the threshold in effect, 0.990" in words_of(at)
    assert "Same person" in words_of(at)
    assert "Different people" not in words_of(at)
    other = open_page("calibration")
    assert other.button("evaluation_start")
    assert not other.metric, "another tab has sets of its own"
    at.button("evaluation_forget").click().run()
    assert not at.metric
    assert shared.service.people.counts().people == 0


@pytest.mark.parametrize("junk", [b"not a zip", b""])
def test_a_junk_set_is_said_in_words(shared: Resources, open_page: OpenPage, junk: bytes) -> None:
    at = open_page("calibration")
    at.file_uploader[0].upload("set.zip", junk).run()
    at.button("evaluation_start").click().run()
    assert not at.exception
    assert at.error[0].proto.title
    assert "Something went wrong" not in at.error[0].proto.title
    assert "evaluation_forget" not in {button.key for button in at.button}


def _zip(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_what_is_on_the_screen_can_be_taken_away(shared: Resources, measured: AppTest) -> None:
    downloads = {download.label for download in measured.get("download_button")}
    assert downloads == {"JSON", "CSV"}
    document = json.loads(export.to_json(figures(shared)))
    values = {metric.label: metric.value for metric in measured.metric}
    separation = document["figures"]["separation"]
    assert values["d′"] == f"{separation['d_prime']:.2f}"
    assert values["Rank 1"] == words.rate(separation["rank_one"])
    tab(measured, "People")
    assert [download.label for download in measured.get("download_button")] == ["JSON of these lists"]


def test_a_run_that_came_to_nothing_is_told_to_who_started_it(
    shared: Resources, open_page: OpenPage, photos: dict[str, bytes]
) -> None:
    at = open_page("calibration")
    at.file_uploader[0].upload("set.zip", _zip({"ana/1.jpg": photos["astronaut"]})).run()
    at.button("evaluation_start").click().run()
    finished(shared, at)
    assert "one person" in at.error[0].proto.title
    assert "evaluation_forget" not in {button.key for button in at.button}
    assert not open_page("calibration").error


def test_a_target_and_a_preview_are_in_the_export(shared: Resources, measured: AppTest) -> None:
    measured.slider("calibration_candidate").set_value(0.6).run()
    found = figures(shared)
    choice = choose(found, Target(1, 10_000, "1:N"), 40)
    document = json.loads(export.to_json(found, export.of_choice(choice)))
    assert document["choice"]["why"] in words_of(measured)


# ---------------------------------------------------------------- the figures themselves


def test_det_axes_are_probits() -> None:
    thresholds = np.array([0.2, 0.4, 0.6])
    fmr, fnmr = np.array([0.5, 0.01, 1e-4]), np.array([0.001, 0.02, 0.3])
    option = det.det(thresholds, fmr, fnmr, {"in effect": 0.4})
    frame = option["dataset"]["source"]
    assert frame["x"].to_numpy() == pytest.approx(ndtri(fmr))
    assert frame["y"].to_numpy() == pytest.approx(ndtri(fnmr))
    (mark,) = option["series"][0]["markPoint"]["data"]
    assert mark["coord"] == pytest.approx([ndtri(0.01), ndtri(0.02)])


def test_a_perfect_sample_draws_no_det_and_says_what_that_means(shared: Resources, measured: AppTest) -> None:
    curve = figures(shared).curve
    assert curve.fnmr is not None
    assert not det.both_err(curve.fmr.value, curve.fnmr.value).any()
    tab(measured, "Error curves")
    assert "this sample separates perfectly. More people are needed" in words_of(measured)


def test_a_threshold_beyond_a_curve_is_not_marked_on_its_end() -> None:
    thresholds = np.array([0.2, 0.4, 0.6])
    fmr, fnmr = np.array([0.5, 0.01, 0.0]), np.array([0.001, 0.02, 0.3])
    option = charts.roc(thresholds, fmr, fnmr, 1e-3, {"in effect": 0.4, "new": 0.6})
    (mark,) = option["series"][0]["markPoint"]["data"]
    assert mark["label"]["formatter"] == "in effect"


def test_rates_of_zero_end_a_line_and_claims_below_the_sample_are_shaded() -> None:
    thresholds = np.linspace(0, 1, 5)
    fmr = np.array([1.0, 0.1, 0.001, 0.0, 0.0])
    option = charts.rates(thresholds, {"FMR": fmr, "FNMR": fmr[::-1]}, {"in effect": 0.4}, 0.01)
    drawn = option["dataset"]["source"]["FMR"].to_numpy()
    assert drawn[:3] == pytest.approx(fmr[:3])
    assert np.isnan(drawn[3:]).all()
    assert option["series"][0]["markArea"]["data"][0][1] == {"yAxis": 0.01}
    dashes = [line["lineStyle"]["type"] for line in option["series"]]
    assert len(set(dashes)) == len(dashes)  # colour never speaks alone


def test_histograms_are_shares_of_their_own_kind(shared: Resources, measured: AppTest) -> None:
    histogram = figures(shared).histogram
    option = charts.similarities(histogram, 0.4, 0.5, (-1.0, 1.0))
    frame = option["dataset"]["source"]
    assert frame["same person"].sum() == pytest.approx(1, abs=1e-3)
    assert frame["different people"].sum() == pytest.approx(1, abs=1e-3)
    assert [line["xAxis"] for line in option["series"][0]["markLine"]["data"]] == [0.4, 0.5]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0%"),
        (1, "100%"),
        (0.9999, "99.99%"),
        (0.9999999, "99.999%"),
        (0.05, "5%"),
        (0.123, "12.3%"),
        (1e-5, "1 in 100,000"),
    ],
)
def test_rates_are_said_as_the_field_says_them(value: float, said: str) -> None:
    assert words.rate(value) == said
