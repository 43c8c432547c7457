"""Tuning: what is changed holds at once, after a restart, and can be undone."""

import math
from dataclasses import replace

import pytest

from core.config.settings import Settings
from core.config.tuning import Tuning, differing, tuned
from core.domain.errors import BadInput
from core.domain.search import Strategy
from core.services.service import RobiService
from dashboard.shared import tunings


def enroll(service, photos, user_id="eileen", photo="astronaut"):
    return service.enrollment.enroll(
        user_id, user_id.title(), [("a.png", photos[photo])], allow_duplicate=True
    )


@pytest.fixture
def reopened(make_service, engine):
    """The same ledger and tiers under a new service, as after a restart."""

    def reopen(service):
        return RobiService.open(service.settings, engine, service.ledger, service.store)

    opened = []
    yield lambda service: opened.append(reopen(service)) or opened[-1]
    for service in opened:
        service.close()


def test_without_a_change_the_settings_hold(service):
    assert service.tuning.now == Tuning.of(service.settings)
    assert service.tuning.latest() == ()


def test_a_threshold_decides_from_the_next_search_on(service, photos, variants):
    enroll(service, photos)
    assert service.recognition.verify(variants["astronaut"]).verified
    service.tuning.tune({"threshold": 0.99}, "Too many look-alikes.")
    for strategy in Strategy:
        assert not service.recognition.verify(variants["astronaut"], strategy=strategy).verified
    assert not service.recognition.verify(variants["astronaut"], user_id="eileen").verified


def test_a_strategy_is_used_where_none_is_named(service, photos, variants):
    enroll(service, photos)
    service.tuning.tune({"strategy": "qdrant_only"}, "The cache is being measured.")
    assert service.recognition.verify(variants["astronaut"]).search.strategy is Strategy.QDRANT_ONLY


def test_it_holds_after_a_restart_and_the_reason_is_kept(service, reopened):
    step = service.tuning.tune({"threshold": 0.47, "margin": 0.08}, "  From the calibration.  ")
    again = reopened(service)
    assert again.tuning.now == service.tuning.now
    assert (again.tuning.now.threshold, again.tuning.now.margin) == (0.47, 0.08)
    assert again.tuning.latest() == (step,)
    assert step.reason == "From the calibration."
    assert again.store.search([1.0] * 128, strategy=Strategy.HYBRID).threshold == 0.47


def test_undo_goes_back_to_what_held_before_and_is_a_step_itself(service):
    first = service.tuning.tune({"threshold": 0.45}, "one")
    second = service.tuning.tune({"threshold": 0.50, "strategy": "faiss_first"}, "two")
    back = service.tuning.undo(second.id)
    assert back.reason == f"Undone: {second.reason}"
    assert (service.tuning.now.threshold, service.tuning.now.strategy) == (0.45, Strategy.HYBRID)
    service.tuning.undo(first.id)
    assert service.tuning.now == Tuning.of(service.settings)
    assert [step.id for step in service.tuning.latest()][-3:] == [back.id, second.id, first.id]


def test_each_change_is_an_event_with_what_changed_and_why(service):
    service.tuning.tune({"threshold": 0.45}, "Night shift.")
    (event,) = service.events.listing(kind="tuned").items
    assert event.detail == {"changed": {"threshold": [0.40, 0.45]}, "reason": "Night shift."}


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 0.0},
        {"threshold": 1.0},
        {"threshold": math.nan},
        {"threshold": "0.4"},
        {"threshold": True},
        {"margin": -0.1},
        {"review_band": 0.4},
        {"index_type": "HNSW"},
        {"index_type": []},
        {"nprobe": 0},
        {"nprobe": 1.5},
        {"search_ef": 5000},
        {"strategy": "fastest"},
        {"colour": "blue"},
    ],
)
def test_a_value_that_cannot_be_is_refused_and_nothing_changes(service, changes):
    before = service.tuning.now
    with pytest.raises(BadInput):
        service.tuning.tune(changes, "try")
    assert service.tuning.now == before
    assert service.tuning.latest() == ()


@pytest.mark.parametrize("reason", ["", "   ", "x" * 301])
def test_a_change_needs_a_reason(service, reason):
    with pytest.raises(BadInput, match="reason"):
        service.tuning.tune({"threshold": 0.5}, reason)


def test_a_change_to_what_holds_already_is_refused(service):
    with pytest.raises(BadInput, match="already"):
        service.tuning.tune({"threshold": service.tuning.now.threshold}, "again")


def test_a_step_that_does_not_exist_cannot_be_undone(service):
    service.tuning.tune({"threshold": 0.5}, "one")
    with pytest.raises(BadInput, match="no such change"):
        service.tuning.undo(99)


def test_values_that_no_longer_go_with_the_settings_are_left_out(engine, service, reopened, caplog):
    service.tuning.tune({"threshold": 0.30}, "Low light.")
    other = replace(service, settings=Settings(_env_file=None, face_review_band=0.35))
    again = reopened(other)
    assert again.tuning.now == Tuning.of(again.settings)
    assert "left out" in caplog.text


def test_only_what_differs_from_the_settings_is_kept():
    settings = Settings(_env_file=None)
    changed = tuned(Tuning.of(settings), {"strategy": "faiss_first", "threshold": 0.40})
    assert differing(changed, settings) == {"strategy": "faiss_first"}


def test_every_tuned_value_stands_over_a_setting_and_has_a_name_on_the_screen():
    names = set(Tuning.__dataclass_fields__)
    assert tunings.LABEL.keys() == tunings.SETTING.keys() == names
    assert set(tunings.SETTING.values()) <= Settings.model_fields.keys()
