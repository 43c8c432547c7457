"""What a new rule would have changed among the decisions on record, as far as the record can say."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from core.calibration import export
from core.calibration.preview import Flip, preview, recent_decisions
from core.domain.decisions import Rule
from core.domain.events import NewEvent
from core.domain.search import Decision, SearchResult
from core.domain.templates import NewTemplate
from core.services.demo import load_demo_gallery

NOW = Rule(0.4, 0.05, 0.05)


@pytest.fixture
def record(service):
    def write(*decisions, days_ago=1.0, kind="verified", user_id=None):
        at = datetime.now(UTC) - timedelta(days=days_ago)
        names = ("decision", "similarity", "lead", "mode")
        details = [dict(zip(names, decision, strict=True)) | {"strategy": "hybrid"} for decision in decisions]
        service.ledger.events.record([NewEvent(at, kind, user_id, detail) for detail in details])

    return write


def changes(service, rule, before=NOW):
    return preview(recent_decisions(service.ledger), rule, before.margin, service.people.pairs())


def test_the_same_rule_changes_nothing(service, record):
    record(("match", 0.7, 0.3, "1:N"), ("review", 0.38, 0.3, "1:N"), ("unknown", 0.1, 0.0, "1:N"))
    record(("review", 0.6, 0.01, "1:N"), ("unknown", None, None, "1:N"), ("match", 0.41, None, "1:1"))
    result = changes(service, NOW)
    assert (result.decisions, result.changes, result.unchanged, result.unknown) == (6, 0, 6, 0)


def test_each_flip_is_counted_and_named(service, record):
    record(("match", 0.45, 0.3, "1:N"), ("match", 0.47, None, "1:1"), ("match", 0.42, 0.3, "1:N"))
    record(("review", 0.38, 0.3, "1:N"), ("match", 0.9, 0.5, "1:N"))
    result = changes(service, Rule(0.5, 0.05, 0.05))
    assert set(result.changed) == {
        Flip(Decision.MATCH, Decision.REVIEW, 2),
        Flip(Decision.MATCH, Decision.UNKNOWN, 1),
        Flip(Decision.REVIEW, Decision.UNKNOWN, 1),
    }
    assert result.changed[0].count == 2
    assert (result.changes, result.unchanged, result.unknown) == (4, 1, 0)
    ids = [event.id for event in service.events.listing(kind="verified").items]
    assert result.events == tuple(ids[1:])  # newest first; the newest one stays


def test_every_combination_is_as_the_rule_itself_decides(service, record):
    random = np.random.default_rng(0)
    new = Rule(0.35, 0.1, 0.02)
    expected = {Decision.MATCH: 0, Decision.REVIEW: 0, Decision.UNKNOWN: 0}
    for similarity, lead in np.round(random.uniform(0, [0.6, 0.2], (300, 2)), 4):
        was = NOW.decide([similarity, similarity - lead])
        record((was.value, similarity, lead, "1:N"))
        becomes = new.decide([similarity, similarity - lead])
        expected[becomes] += becomes is not was
    result = changes(service, new)
    assert result.unknown == 0
    for decision, count in expected.items():
        assert sum(flip.count for flip in result.changed if flip.becomes is decision) == count


def test_what_the_record_cannot_say_is_unknown(service, record):
    record(("review", 0.38, None, "1:N"))  # would reach 0.35; whether it leads nobody knows
    record(("match", 0.45, None, "1:N"))  # led by 0.05 then
    lower = changes(service, Rule(0.35, 0.05, 0.05))
    assert (lower.unknown, lower.unchanged) == (1, 1)
    wider = changes(service, Rule(0.4, 0.1, 0.05))
    assert (wider.unknown, wider.unchanged) == (1, 1)
    higher = changes(service, Rule(0.5, 0.2, 0.05))  # below the threshold the lead does not matter
    assert (higher.unknown, higher.changes) == (0, 2)


def test_one_to_one_needs_no_lead(service, record):
    record(("review", 0.38, None, "1:1"))
    assert changes(service, Rule(0.35, 0.05, 0.05)).changed == (Flip(Decision.REVIEW, Decision.MATCH, 1),)


def test_what_hangs_on_a_confirmed_pair_is_unknown(service, record):
    """Whether the second person was the other of the pair, and so needed more lead, is not on record."""
    for user_id in ("a", "b"):
        service.ledger.people.enroll(user_id, user_id, [NewTemplate(unit(user_id == "a"), 0.9, "api")])
    service.tuning.confirm_pair("a", "b", 0.2)
    record(("review", 0.38, 0.1, "1:N"), ("review", 0.38, 0.3, "1:N"), user_id="a")
    record(("review", 0.38, 0.1, "1:1"), ("review", 0.3, 0.1, "1:N"), user_id="a")
    record(("review", 0.38, 0.1, "1:N"), user_id="c")
    record(("unknown", 0.38, 0.1, "1:N"))  # who came first is not on record
    lower = changes(service, Rule(0.35, 0.05, 0.05))
    assert (lower.changes, lower.unchanged, lower.unknown) == (3, 1, 2)
    service.tuning.forget_pair("a", "b")
    assert changes(service, Rule(0.35, 0.05, 0.05)).unknown == 0


def unit(first):
    vector = np.zeros(128, np.float32)
    vector[0 if first else 1] = 1
    return vector


def test_who_asked_for_a_threshold_of_their_own_is_left_out_and_counted(make_service, photos):
    service = make_service(robi_allow_looser_threshold=True)
    load_demo_gallery(service)
    service.recognition.verify(photos["hanks"])
    service.recognition.verify(photos["hanks"], threshold=0.99999)
    service.recognition.verify(photos["hanks"], threshold=service.tuning.now.threshold)
    service.recognition.identify(photos["astronaut"], threshold=0.1)
    newest = [event.detail for event in service.events.listing(kind="verified").items]
    assert [detail["decided_by"]["threshold"] for detail in newest] == [0.1, 0.4, 0.99999, 0.4]
    assert [detail["decided_by"]["own"] for detail in newest] == [True, False, True, False]
    higher = changes(service, Rule(0.99999, 0.5, 0.0), service.store.rule())
    assert (higher.decisions, higher.own_threshold) == (2, 2)
    assert higher.changes + higher.unchanged + higher.unknown == 2
    assert export.of_preview(higher)["preview"]["own_threshold"] == 2
    assert set(higher.events) <= {event.id for event in service.events.listing(kind="verified").items[1::2]}


def test_only_decisions_of_the_last_days_count(service, record):
    record(("match", 0.45, 0.3, "1:N"), days_ago=31)
    record(("match", 0.45, 0.3, "1:N"), days_ago=29)
    record(("match", 0.45, 0.3, "1:N"), kind="something_else")
    assert changes(service, Rule(0.5, 0.05, 0.05)).decisions == 1


def test_the_newest_are_read_when_there_are_too_many(service, record):
    record(("match", 0.45, 0.3, "1:N"), ("match", 0.46, 0.3, "1:N"), ("match", 0.47, 0.3, "1:N"))
    decided = recent_decisions(service.ledger, limit=2)
    assert decided.truncated
    assert decided.similarity.tolist() == [0.47, 0.46]
    assert preview(decided, NOW, NOW.margin).truncated


def test_nothing_on_record(service):
    assert changes(service, NOW).decisions == 0


def test_decisions_that_the_service_records_can_be_previewed(service, photos):
    load_demo_gallery(service)
    assert isinstance(service.recognition.verify(photos["hanks"]).search, SearchResult)
    service.recognition.verify(photos["astronaut"], user_id="tom-hanks")
    service.events.listing()
    decided = recent_decisions(service.ledger)
    assert sorted(decided.decision.tolist()) == ["match", "unknown"]
    assert decided.one_to_one.sum() == 1
    assert not np.isnan(decided.lead[~decided.one_to_one]).any()
    stricter = preview(decided, Rule(0.99999, 0.5, 0.0), service.store.rule().margin)
    assert stricter.changes + stricter.unchanged == 2
