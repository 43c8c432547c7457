"""People who look alike: one person under two names becomes one, two people are told apart."""

import threading

import numpy as np
import pytest

from core.domain.errors import BadInput, NotFound, Unavailable
from core.domain.faces import Purpose
from core.domain.search import Decision, Strategy
from core.domain.templates import NewTemplate


def vector(*at):
    """A unit vector of the pack's dimension with these first numbers."""
    row = np.zeros(128, np.float32)
    row[: len(at)] = at
    return row / np.linalg.norm(row)


def enroll(service, user_id, *vectors):
    templates = [NewTemplate(row, 0.9, "api") for row in vectors]
    enrollment = service.ledger.people.enroll(user_id, user_id.title(), templates)
    service.store.sync(enrollment.seq)
    return enrollment


TWIN = vector(1.0, 0.0)
OTHER_TWIN = vector(1.0, 0.45)  # similar to the first by 0.91


@pytest.mark.parametrize("strategy", list(Strategy))
def test_after_a_merger_every_strategy_finds_one_person_by_both_photos(service, strategy):
    enroll(service, "ana", TWIN)
    enroll(service, "anna", vector(0, 0, 1.0))
    kept = service.people.merge("anna", into="ana")
    assert (kept.user_id, kept.name, kept.templates) == ("ana", "Ana", 2)
    for probe in (TWIN, vector(0, 0, 1.0)):
        found = service.matching.search(probe.tolist(), strategy=strategy)
        assert found.decision is Decision.MATCH
        assert found.best.user_id == "ana"
    assert service.people.counts().people == 1
    with pytest.raises(NotFound):
        service.people.person("anna")


def test_a_merger_leaves_nothing_of_the_other_person_and_keeps_their_events(service):
    enroll(service, "ana", TWIN)
    gone = enroll(service, "anna", OTHER_TWIN).template_ids
    service.people.merge("anna", into="ana")
    assert not service.ledger.feed.resolve(gone)
    assert dict(service.store.upkeep.left(gone)) == {"faiss": 0, "qdrant": 0}
    told = [(event.kind, event.name) for event in service.events.listing().items]
    assert ("merged", "Ana") in told
    assert {name for _, name in told} == {"Ana"}  # also of what happened under the other name
    assert not any(drift.missing or drift.extra for drift in service.store.upkeep.check_drift())


@pytest.mark.parametrize(("one", "other", "error"), [("ana", "ana", BadInput), ("ana", "bob", NotFound)])
def test_a_merger_needs_two_people(service, one, other, error):
    enroll(service, "ana", TWIN)
    for first, second in ((one, other), (other, one)):
        with pytest.raises(error):
            service.people.merge(first, into=second)
    assert service.people.person("ana").templates == 1


@pytest.mark.parametrize("strategy", list(Strategy))
def test_look_alikes_need_the_margin_of_their_pair(service, strategy):
    enroll(service, "ana", TWIN)
    enroll(service, "eva", OTHER_TWIN)
    assert service.matching.search(TWIN.tolist(), strategy=strategy).decision is Decision.MATCH
    service.tuning.confirm_pair("eva", "ana", margin=0.2)
    found = service.matching.search(TWIN.tolist(), strategy=strategy)
    assert found.decision is Decision.REVIEW
    assert found.best.user_id == "ana"
    service.tuning.forget_pair("ana", "eva")
    assert service.matching.search(TWIN.tolist(), strategy=strategy).decision is Decision.MATCH


def test_the_margin_of_a_pair_concerns_nobody_else(service):
    enroll(service, "ana", TWIN)
    enroll(service, "eva", OTHER_TWIN)
    enroll(service, "zoe", vector(0, 0, 1.0))
    service.tuning.confirm_pair("ana", "zoe", margin=0.9)
    assert service.matching.search(TWIN.tolist()).decision is Decision.MATCH


def test_a_pair_is_remembered_once_with_its_latest_margin(service):
    enroll(service, "ana", TWIN)
    enroll(service, "eva", OTHER_TWIN)
    service.tuning.confirm_pair("ana", "eva")
    (pair,) = service.people.pairs()
    assert pair.margin == pytest.approx(2 * service.tuning.now.margin)
    service.tuning.confirm_pair("eva", "ana", 0.3)
    (pair,) = service.people.pairs()
    assert (pair.user_ids, pair.names, pair.margin) == (("ana", "eva"), ("Ana", "Eva"), 0.3)


def test_a_pair_goes_with_either_person(service):
    enroll(service, "ana", TWIN)
    enroll(service, "eva", OTHER_TWIN)
    service.tuning.confirm_pair("ana", "eva", 0.3)
    service.erasures.erase("eva")
    assert service.people.pairs() == ()


@pytest.mark.parametrize("margin", [-0.1, 1.0, float("nan")])
def test_a_margin_that_cannot_be_is_refused(service, margin):
    enroll(service, "ana", TWIN)
    enroll(service, "eva", OTHER_TWIN)
    with pytest.raises(BadInput):
        service.tuning.confirm_pair("ana", "eva", margin)
    with pytest.raises(BadInput):
        service.tuning.confirm_pair("ana", "ana", 0.1)


def test_a_photo_that_was_asked_for_is_settled_by_the_next_enrollment(service, photos, variants):
    service.enrollment.enroll("eileen", "Eileen", [("a.png", photos["astronaut"])])
    assert service.people.ask_for_photo("eileen").photo_asked_at is not None
    service.people.ask_for_photo("eileen")
    assert [event.kind for event in service.events.listing(kind="photo_asked").items] == ["photo_asked"]
    assert service.people.ask_for_photo("eileen", asked=False).photo_asked_at is None
    service.people.ask_for_photo("eileen")
    assert service.pictures.analyze(service.pictures.decode(photos["astronaut"]), Purpose.ENROLL).faces
    service.enrollment.enroll("eileen", None, [("b.jpg", variants["astronaut"])], add_to_existing=True)
    assert service.people.person("eileen").photo_asked_at is None


def test_of_two_pairs_confirmed_at_once_neither_is_forgotten(service, monkeypatch):
    for user_id in ("ana", "anna", "bo"):
        enroll(service, user_id, vector(*np.random.default_rng(len(user_id)).normal(size=3)))
    told = threading.Event()
    put, tell_apart = service.ledger.pairs.put, service.store.tell_apart

    def put_first(*pair):
        """Whoever put the first pair, before the other was there, speaks last if both may put at once."""
        found = put(*pair)
        if len(found) == 1:
            told.wait(0.5)
        return found

    def tell(look_alikes):
        tell_apart(look_alikes)
        told.set()

    monkeypatch.setattr(service.ledger.pairs, "put", put_first)
    monkeypatch.setattr(service.store, "tell_apart", tell)
    first = threading.Thread(target=service.tuning.confirm_pair, args=("ana", "anna"))
    first.start()
    while not service.ledger.pairs.all():
        pass
    second = threading.Thread(target=service.tuning.confirm_pair, args=("ana", "bo"))
    second.start()
    for thread in (first, second):
        thread.join(10)
    assert len(service.store.rule().look_alikes.margins) == 2


def test_a_pair_that_is_kept_is_decided_by_although_nothing_can_be_read_meanwhile(service, monkeypatch):
    for user_id, face in (("ana", TWIN), ("anna", OTHER_TWIN), ("bo", vector(0, 0, 1.0))):
        enroll(service, user_id, face)

    def refuse(*_):
        raise Unavailable("ledger_unavailable", "The ledger cannot be read.")

    monkeypatch.setattr(service.ledger.pairs, "all", refuse)
    service.tuning.confirm_pair("ana", "anna", 0.2)
    assert list(service.store.rule().look_alikes.margins.values()) == [0.2]
    service.people.merge("bo", into="ana")
    service.tuning.forget_pair("ana", "anna")
    assert not service.store.rule().look_alikes.margins
