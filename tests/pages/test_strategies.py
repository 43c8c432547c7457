"""Strategies: what is measured and said before a run, the answer after it, kept runs, one photo."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from core.benchmark.labels import full
from core.benchmark.model import Ecdf, Estimate, Gain, Measurement, Outcome, Run, RunRequest, Setting
from core.benchmark.recommendation import Advice
from core.config.tuning import Tuning
from core.domain.search import Strategy
from core.ledger.models import runs as runs_table
from core.services.demo import load_demo_gallery
from core.services.service import RobiService
from dashboard.shared.resources import Resources
from dashboard.strategies import apply, form
from dashboard.strategies import chart_labels as labels
from dashboard.strategies import chart_picture as picture
from dashboard.strategies import plan as plan
from dashboard.strategies import words as say
from dashboard.strategies.chart_picture import SettingPoint
from tests.pages.conftest import MAIN, Serve, as_read, words_of

SETTINGS = tuple(Setting(strategy) for strategy in Strategy)


def wait(shared: Resources) -> Outcome:
    for _ in range(600):
        outcome = shared.benchmarks.outcome()
        if outcome is not None and shared.benchmarks.progress() is None:
            return outcome
        time.sleep(0.05)
    raise AssertionError("the comparison did not end")


def measure(shared: Resources, **wanted: object) -> Run:
    """A run that is kept, made without the page."""
    shared.benchmarks.start(RunRequest(**{"settings": SETTINGS, "count": 40, **wanted}))
    run = wait(shared).run
    assert run is not None
    return run


def click_run(at: AppTest, shared: Resources) -> AppTest:
    at.button(key="strategies_go").click().run()
    wait(shared)
    if at.get("progress"):  # else it had ended before the page was drawn, and that was said once
        at.run()
    assert not at.exception
    return at


def option(at: AppTest, number: int = 0) -> dict:
    return json.loads(at.get("echarts_chart")[number].proto.spec)


def sentence(at: AppTest) -> str:
    return next(as_read(m.value) for m in at.markdown if "probes each" in m.value)


# ---------------------------------------------------------------- before a run


def test_it_says_what_will_be_measured_and_how_long(
    open_page: Callable[..., AppTest], demo: RobiService
) -> None:
    at = open_page("strategies")
    assert "Hybrid, Cache first, Qdrant only: 5 settings × 1 and 8 at once, 300 probes each" in sentence(at)
    assert "About" in sentence(at)
    at.session_state["strategies_new_coverages"] = [1.0, 0.5, 0.1]
    at.session_state["strategies_new_concurrencies"] = [1]
    at.run()
    assert "7 settings × 1 at once" in sentence(at)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("strategies", "Choose at least one strategy"),
        ("concurrencies", "Choose how many searches are made at once"),
        ("coverages", "Choose how much of the gallery is in the cache"),
        ("index", "Choose at least one index type"),
        ("efs", "Choose at least one ef"),
    ],
)
def test_without_a_choice_it_says_what_is_missing(
    open_page: Callable[..., AppTest], demo: RobiService, key: str, said: str
) -> None:
    at = open_page("strategies")
    at.session_state[f"strategies_new_{key}"] = []
    at.run()
    assert said in words_of(at)
    assert at.button(key="strategies_go").disabled


def test_choices_stay_while_another_tab_is_open(open_page: Callable[..., AppTest], demo: RobiService) -> None:
    at = open_page("strategies")
    at.session_state["strategies_new_concurrencies"] = [32]
    at.run()
    for tab in ("Kept runs", "Compare"):
        at.session_state["strategies_tabs"] = tab
        at.run()
        assert not at.exception
    assert "× 32 at once" in sentence(at)


def test_each_setting_is_measured_once_and_leaves_alone_what_it_does_not_use(service: RobiService) -> None:
    tuning = service.tuning.now
    choice = plan.Selection(tuple(Strategy), (1.0, 0.1), ("auto", "IVF"), (8, 16), (64,), (1,), 100)
    settings = plan.settings_of(choice, tuning)
    assert len(settings) == len({full(setting) for setting in settings}) == 13
    (qdrant,) = [setting for setting in settings if setting.strategy is Strategy.QDRANT_ONLY]
    assert (qdrant.index_type, qdrant.nprobe) == (tuning.index_type, tuning.nprobe)
    assert all(s.nprobe == tuning.nprobe for s in settings if s.index_type == "auto")


def test_probes_can_be_the_faces_of_photos(
    open_page: Callable[..., AppTest], demo: RobiService, shared: Resources, photos: dict[str, bytes]
) -> None:
    at = open_page("strategies")
    at.session_state["strategies_new_probes"] = "photos"
    at.run()
    assert "Choose the photos" in words_of(at)
    assert at.button(key="strategies_go").disabled
    at.file_uploader(key="strategies_photos").upload("junk.jpg", b"junk")
    at.run()
    assert "1 photo of 1 cannot be used" in words_of(at)
    assert at.button(key="strategies_go").disabled
    at.file_uploader(key="strategies_photos").upload("group.jpg", photos["group"])
    at.run()
    click_run(at, shared)
    run = shared.benchmarks.get(shared.benchmarks.runs()[0].id)
    assert run.request.probes.kind == "photos"
    assert "There were 6 different probes" in words_of(at)


def test_real_probes_are_only_repeated_where_they_are_kept(
    open_page: Callable[..., AppTest], demo: RobiService, photos: dict[str, bytes]
) -> None:
    demo.recognition.identify(photos["group"])
    at = open_page("strategies")
    at.session_state["strategies_new_probes"] = "recent"
    at.run()
    assert "not kept unless ROBI_KEEP_PROBES is set" in words_of(at)
    assert "The last 6 checks on record: match 5 · review 1" in words_of(at)
    assert at.button(key="strategies_go").disabled


def test_kept_probes_can_be_searched_for_again(
    make_service: Callable[..., RobiService], serve: Serve, photos: dict[str, bytes]
) -> None:
    service = make_service(robi_keep_probes=50)
    shared = serve(service)
    load_demo_gallery(service)
    service.recognition.identify(photos["group"])
    at = AppTest.from_file(str(MAIN), default_timeout=30).run()
    at.switch_page("../pages/strategies.py").run()
    at.session_state["strategies_new_probes"] = "recent"
    at.run()
    assert "The newest 6 faces that were checked" in words_of(at)
    click_run(at, shared)
    assert "(last checks)" in words_of(at)


# ---------------------------------------------------------------- the answer


def test_one_click_gives_the_picture_and_the_figures_behind_it(
    open_page: Callable[..., AppTest], demo: RobiService, shared: Resources
) -> None:
    at = click_run(open_page("strategies"), shared)
    said = words_of(at)
    run = shared.benchmarks.get(shared.benchmarks.runs()[0].id)
    assert "is kept" in said
    assert any("of the known people within" in m.value for m in at.markdown)
    drawn = {s["id"]: s["data"] for s in option(at)["series"] if s.get("type") == "scatter" and "id" in s}
    assert [len(drawn[strategy.value]) for strategy in Strategy] == [2, 2, 1]
    alone = [row for row in run.rows if row.concurrency == 1]
    for row in alone:
        assert row.p95 is not None
        assert f"<span>{say.estimate(row.p95, say.ms)}</span>" in said
        assert say.estimate(row.throughput_per_s, say.rate) in said
    assert f"{run.machine.cores} cores" in said
    assert "8 people, 8 templates of 128 dimensions, pack open" in said
    assert "seed 0" in said
    assert len(at.get("echarts_chart")) == 5
    assert all(chart.proto.alt for chart in at.get("echarts_chart"))


def test_what_is_in_use_is_marked_and_another_setting_can_be_looked_at(
    open_page: Callable[..., AppTest], demo: RobiService, shared: Resources
) -> None:
    at = click_run(open_page("strategies"), shared)
    assert "In use" in option(at)["legend"]["data"]
    run = shared.benchmarks.get(shared.benchmarks.runs()[0].id)
    chooser = at.selectbox(key=f"strategies_setting_{run.id}")
    chooser.set_value(Setting(Strategy.QDRANT_ONLY)).run()
    assert not at.exception
    row = next(r for r in run.rows if r.setting.strategy is Strategy.QDRANT_ONLY and r.concurrency == 1)
    assert say.estimate(row.p99, say.ms) in at.table[0].value.to_string().replace("\\", "")
    assert at.button(key="strategies_use").label == "Use this setting"
    ring = next(s for s in option(at)["series"] if s.get("name") == "Chosen")
    assert ring["data"][0][0] == pytest.approx(row.p95.value)
    chooser.set_value(Setting(Strategy.HYBRID)).run()
    assert "in use" in words_of(at)
    assert "Use this setting" not in words_of(at)


def test_only_what_differs_would_be_changed(service: RobiService) -> None:
    setting = Setting(Strategy.FAISS_FIRST, coverage=0.1, search_ef=256)
    found = apply.differences(service, setting)
    assert found == {
        "strategy": (Strategy.HYBRID, Strategy.FAISS_FIRST),
        "search_ef": (service.tuning.now.search_ef, 256),
    }
    assert apply.differences(service, Setting(Strategy.HYBRID, coverage=0.1)) == {}


def test_a_click_shows_the_point_and_a_second_click_keeps_it() -> None:
    def page() -> None:
        import streamlit as st

        from core.benchmark.model import Ecdf, Measurement, Setting
        from core.domain.search import Strategy
        from dashboard.strategies import result as result

        class RunLike:
            id = 7

        rows = [
            Measurement(Setting(strategy), 1, 1, {}, Ecdf((), ()), *[None] * 8, {}, {}, None, 0, 0)
            for strategy in (Strategy.HYBRID, Strategy.QDRANT_ONLY)
        ]
        clicked = [{"series_id": "qdrant_only", "data_indices": [0]}]
        result.pick(RunLike(), rows, clicked)
        st.text(st.session_state["strategies_setting_7"].strategy)
        st.session_state["strategies_setting_7"] = rows[0].setting  # meanwhile another one from the list
        result.pick(RunLike(), rows, [])
        st.text(st.session_state["strategies_setting_7"].strategy)

    at = AppTest.from_function(page).run()
    assert not at.exception
    assert [text.value for text in at.text] == ["qdrant_only", "qdrant_only"]


# ---------------------------------------------------------------- how a run ends


def test_a_run_of_another_tab_is_found_and_can_be_cancelled(
    open_page: Callable[..., AppTest], demo: RobiService, shared: Resources
) -> None:
    shared.benchmarks.start(RunRequest(SETTINGS, count=10_000, concurrencies=(1, 8, 32, 100)))
    at = open_page("strategies")
    assert len(at.get("progress")) == 1
    assert "goes on if you leave the page" in words_of(at)
    assert "Run" not in [button.label for button in at.button]
    at.button(key="strategies_cancel").click().run()
    assert wait(shared).cancelled
    if at.get("progress"):  # else it had ended before the page was drawn, and that was said once
        at.run()
    assert "was cancelled. Nothing of it was kept." in words_of(at)
    assert shared.benchmarks.runs() == ()
    at.run()
    assert "was cancelled" not in words_of(at)


def test_a_time_limit_that_is_too_short_is_said(
    open_page: Callable[..., AppTest],
    demo: RobiService,
    shared: Resources,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(form.LIMITS, "5 minutes", 1e-6)
    at = click_run(open_page("strategies"), shared)
    assert "The time limit came before anything was compared." in words_of(at)
    assert "Traceback" not in words_of(at)
    assert shared.benchmarks.runs() == ()


def test_when_every_search_fails_it_says_so_and_keeps_nothing(
    make_service: Callable[..., RobiService], serve: Serve, photos: dict[str, bytes]
) -> None:
    service = make_service(qdrant_url="http://127.0.0.1:1", qdrant_grpc_port=1, faiss_enabled=False)
    shared = serve(service)
    service.enrollment.enroll(
        "eileen", "Eileen Collins", [("a.png", photos["astronaut"])], allow_duplicate=True
    )
    at = AppTest.from_file(str(MAIN), default_timeout=30).run()
    at.switch_page("../pages/strategies.py").run()
    at.session_state["strategies_new_strategies"] = [Strategy.QDRANT_ONLY]
    at.session_state["strategies_new_count"] = 100
    at.run()
    click_run(at, shared)
    assert at.error
    assert "search" in f"{at.error[0].proto.title} {at.error[0].value}".lower()
    assert shared.benchmarks.runs() == ()


def show_ending() -> None:
    import streamlit as st

    from dashboard.strategies import running

    st.session_state[running.WATCHED] = True
    running.ending(st.session_state["outcome"])


def test_a_run_that_its_time_limit_ended_says_what_is_kept(demo: RobiService, shared: Resources) -> None:
    at = AppTest.from_function(show_ending)
    at.session_state["outcome"] = Outcome(run=replace(measure(shared), complete=False))
    at.run()
    assert at.warning[0].proto.title == "The time limit ended the comparison"
    assert "What was complete by then is kept: 3 measurements." in at.warning[0].value


# ---------------------------------------------------------------- kept runs


def test_kept_runs_are_listed_opened_and_compared(
    open_page: Callable[..., AppTest], demo: RobiService, shared: Resources
) -> None:
    first = measure(shared, name="Before")
    measure(shared, name="After", settings=SETTINGS[:2], seed=3)
    at = open_page("strategies")
    at.session_state["strategies_tabs"] = "Kept runs"
    at.run()
    said = words_of(at)
    assert said.index("After (no. 2)") < said.index("Before (no. 1)")
    assert "3 settings · 1 at once · 40 probes · 8 templates · seed 0" in said
    assert "The probes were drawn with different seeds." in said
    assert "Only in A: Qdrant only" in said
    assert "1.000 → 1.000: no difference shown" in said
    at.button(key=f"strategies_open_{first.id}").click().run()
    assert not at.exception
    assert "Before (no. 1):" in words_of(at)
    assert len(at.get("echarts_chart")[0].proto.spec) > 0


def test_a_run_that_cannot_be_read_is_said_and_the_page_goes_on(
    open_page: Callable[..., AppTest], demo: RobiService, shared: Resources
) -> None:
    run = measure(shared)
    with shared.service.ledger.database.write() as connection:
        connection.execute(update(runs_table).values(document={"version": 99}))
    at = open_page("strategies")
    assert at.button(key="strategies_go")
    at.session_state["strategies_tabs"] = "Kept runs"
    at.run()
    at.button(key=f"strategies_open_{run.id}").click().run()
    assert not at.exception
    assert "another version of Robi" in at.error[0].proto.title


def test_a_run_of_a_smaller_gallery_is_called_older(
    open_page: Callable[..., AppTest], shared: Resources, photos: dict[str, bytes]
) -> None:
    shared.service.enrollment.enroll("eileen", "Eileen Collins", [("a.png", photos["astronaut"])])
    measure(shared, settings=SETTINGS[2:])
    load_demo_gallery(shared.service)
    at = open_page("strategies")
    assert at.warning[0].proto.title == "An older comparison"
    assert "The gallery had 1 template; now it has" in at.warning[0].value.replace("\\", "")
    assert "In use, and not among these: Hybrid · 100% cached · auto · ef 128" in words_of(at)


def test_without_kept_runs_the_tab_says_so(open_page: Callable[..., AppTest], demo: RobiService) -> None:
    at = open_page("strategies")
    at.session_state["strategies_tabs"] = "Kept runs"
    at.run()
    assert "No comparison is kept yet" in words_of(at)


# ---------------------------------------------------------------- one photo


def test_one_photo_goes_through_all_strategies(
    open_page: Callable[..., AppTest], demo: RobiService, variants: dict[str, bytes]
) -> None:
    at = open_page("strategies")
    at.session_state["strategies_tabs"] = "One photo"
    at.run()
    at.file_uploader[0].upload("probe.jpg", variants["astronaut"])
    at.run()
    assert words_of(at).count("robi-headline robi-match") == 3
    rows = option(at)["yAxis"]["data"]
    assert [rows.count(f"{name}  detect") for name in ("Hybrid", "Cache first", "Qdrant only")] == [1, 1, 1]
    assert {"Hybrid  cache", "Hybrid  merge", "Hybrid  names"} <= set(rows)
    assert {row for row in rows if row.endswith("Qdrant")} == {"Qdrant only  Qdrant"}  # the cache has all
    offset, *stages = option(at)["series"]
    embed = rows.index("Hybrid  embed")
    assert offset["data"][embed] > 0
    assert [s["data"][embed] is not None for s in stages].count(True) == 1
    at.session_state["strategies_part"] = "The search only"
    at.run()
    assert not [row for row in option(at)["yAxis"]["data"] if "detect" in row or "embed" in row]
    assert demo.events.listing().items[0].kind == "enrolled"  # nothing of it is on record


def test_a_photo_without_a_face_is_said(open_page: Callable[..., AppTest], demo: RobiService) -> None:
    at = open_page("strategies")
    at.session_state["strategies_tabs"] = "One photo"
    at.run()
    grey = cv2.imencode(".png", np.full((200, 200, 3), 128, np.uint8))[1].tobytes()
    at.file_uploader[0].upload("grey.png", grey)
    at.run()
    assert "No face was found in the photo." in words_of(at)


# ---------------------------------------------------------------- figures and words


def point(p95: float, recall: float, strategy: Strategy = Strategy.HYBRID) -> SettingPoint:
    ends = (recall - 0.01, recall)
    return SettingPoint(strategy, "100% cached", p95, (p95 * 0.9, p95 * 1.1), recall, ends, on_front=True)


def test_labels_of_equal_points_cover_neither_each_other_nor_a_point() -> None:
    places = [(0.5 + 0.02 * n, 1.0) for n in range(8)]
    found = labels.place(places, [12] * len(places))
    assert None not in found
    boxes = [labels.label_box(x, at, 12) for (x, _), at in zip(places, found, strict=True) if at]
    for number, box in enumerate(boxes):
        assert not [other for other in boxes[number + 1 :] if box.meets(other)]
        assert box.top < 1 - labels.SYMBOL[1] + 1e-9
        assert 0 <= box.left < box.right < 1.03


def test_a_label_goes_around_whiskers_but_not_far() -> None:
    right = labels.LabelBox(0.5, 0.0, 0.9, 1.0)
    (beside,) = labels.place([(0.5, 0.5)], [12], [right])
    assert beside is not None
    assert beside.leftwards, "left of its point nothing is in the way"
    assert abs(beside.height - 0.5) <= labels.FAR
    (across,) = labels.place([(0.5, 0.5)], [12], [labels.LabelBox(0.0, 0.2, 1.0, 0.8)])
    assert across is not None, "rather across a line than nowhere, or far away"
    assert abs(across.height - 0.5) <= labels.FAR


def test_of_many_points_those_that_matter_are_labelled() -> None:
    crowd = [replace(point(1.0 + n / 10, 0.95), on_front=n == 0) for n in range(30)]
    series = picture.picture(crowd, chosen=7, live=9)["series"]
    told = [d["value"][0] for s in series if str(s.get("id")).startswith("hybrid_label") for d in s["data"]]
    assert sorted(told) == [1.0, 1.7, 1.9]
    assert [len(s["data"]) for s in series if s.get("id") == "hybrid"] == [30]


@pytest.mark.parametrize(
    ("recalls", "low", "high"),
    [([1.0, 1.0], 0.984, 1.0), ([0.996, 1.0], 0.977, 1.0), ([0.6, 0.8], 0.53, 0.86), ([0.0], 0.0, 0.0)],
)
def test_points_and_whiskers_fill_the_picture(recalls: list[float], low: float, high: float) -> None:
    """At least two thirds of its height, and nothing is cut off."""
    points = [replace(point(0.5 * 4**n, recall), recall_ends=(low, high)) for n, recall in enumerate(recalls)]
    axis = picture.picture(points, chosen=0, live=None)["yAxis"]
    assert axis["min"] <= low <= high <= axis["max"]
    assert high == low or (high - low) / (axis["max"] - axis["min"]) > 2 / 3
    steps = (axis["max"] - axis["min"]) / axis["interval"]
    assert steps == pytest.approx(round(steps))
    assert 1 <= steps <= 7


def test_without_a_setting_in_use_the_legend_names_none() -> None:
    assert "In use" not in picture.picture([point(0.5, 1.0)], chosen=0, live=None)["legend"]["data"]


def test_points_keep_their_true_places() -> None:
    points = [point(0.5, 1.0), point(0.5, 1.0), point(2.0, 0.9, strategy=Strategy.QDRANT_ONLY)]
    series = picture.picture(points, chosen=None, live=1)["series"]
    assert [d["value"] for d in series[0]["data"]] == [[0.5, 1.0], [0.5, 1.0]]
    assert [d["value"] for d in series[2]["data"]] == [[2.0, 0.9]]


@pytest.mark.parametrize(("left", "right"), [(0.01, 5000), (0.9, 1.1), (1.0, 2.0), (0.0003, 0.0004)])
def test_the_axis_has_round_numbers_within_it(left: float, right: float) -> None:
    marks = picture.ticks(left, right)
    assert len(marks) >= 3
    assert all(left <= mark <= right for mark in marks)


def row(strategy: Strategy, p95: float, recall: float | None, coverage: float = 1.0) -> Measurement:
    found = None if recall is None else Estimate(recall, recall - 0.02, min(1.0, recall + 0.02))
    return Measurement(
        setting=Setting(strategy, coverage),
        concurrency=1,
        n=10,
        failures={},
        latency=Ecdf((), ()),
        p50=None,
        p95=Estimate(p95, p95, p95),
        p99=None,
        throughput_per_s=None,
        recall_at_1=found,
        recall_at_5=None,
        agreement=Estimate(0.9, 0.8, 1.0),
        wrong_cache_top1=None,
        stages={},
        sources={},
        hot_kind=None,
        hot_templates=0,
        memory_bytes=0,
    )


def test_the_answer_says_how_it_stands_to_what_is_in_use() -> None:
    slow, fast = row(Strategy.HYBRID, 4.0, 1.0), row(Strategy.FAISS_FIRST, 1.0, 0.99)
    poor, others = row(Strategy.QDRANT_ONLY, 0.5, 0.5), (slow, fast, slow, fast)
    assert "4.0 times as fast as the setting in use" in say.answer(Advice(fast, ()), slow, frozenset())
    assert "It is in use" in say.answer(Advice(fast, ()), fast, frozenset())
    assert "in use is shown to find fewer" in say.answer(Advice(fast, ()), poor, frozenset())
    assert "told from it by so many searches: Hybrid." in say.answer(Advice(fast, (slow,)), fast, frozenset())
    assert "4 other settings" in say.answer(Advice(fast, others), None, frozenset())


def test_a_setting_counts_as_in_use_only_as_it_is(service: RobiService) -> None:
    tuning: Tuning = service.tuning.now
    assert say.in_effect(Setting(tuning.strategy, 1.0, tuning.index_type), tuning, 1.0)
    assert not say.in_effect(Setting(tuning.strategy, 0.1, tuning.index_type), tuning, 1.0)
    assert not say.in_effect(Setting(tuning.strategy, 1.0, "Flat"), tuning, 1.0)
    assert not say.in_effect(Setting(Strategy.QDRANT_ONLY), tuning, 1.0)


def test_figures_are_said_with_what_the_sample_supports() -> None:
    assert say.estimate(Estimate(1.234, 0.798, 1.3), say.ms) == "1.23 (0.80–1.30)"
    assert say.estimate(Estimate(0.666, 0.564, None), say.ms) == "0.67 (0.56 or more)"
    assert say.estimate(Estimate(0.0222, None, 0.03), say.ms) == "0.022 (0.030 or less)"
    assert say.estimate(Estimate(900.0, None, None), say.rate) == "900 (too few to tell)"
    assert [say.memory(size) for size in (0, 14_336, 51_200_000)] == ["–", "14 KB", "51.2 MB"]
    assert say.estimate(None, say.ms) == "–"
    slower, faster = Gain(1.0, 3.0, 1.5, 2.5, "slower"), Gain(3.0, 1.0, -2.5, -1.5, "faster")
    assert say.gain(slower, say.ms, " ms") == "1.00 → 3.00 ms: slower by 1.50 to 2.50"
    assert say.gain(faster, say.ms, " ms") == "3.00 → 1.00 ms: faster by 1.50 to 2.50"
    unsure = Gain(1.0, 1.1, -0.1, 0.3, "no difference shown")
    assert say.gain(unsure, say.ms) == "1.00 → 1.10: no difference shown"
