"""One snapshot of the system, however many ask, and nobody who tells of it contradicts another."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.domain.errors import Unavailable
from core.monitoring import snapshot
from core.monitoring.snapshot import Gatherer
from core.services.service import RobiService


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def looks(service: RobiService, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[None]]:
    """How often the ledger was asked whether it can be written, by a gatherer with the test's clock."""
    monkeypatch.setattr(snapshot, "FRESH_S", 1.0)
    made = Gatherer(service.settings, service.engine, service.ledger, service.store, clock)
    monkeypatch.setattr(service.monitor, "_gatherer", made)
    write_problem, asked = service.ledger.write_problem, []

    def counted() -> Unavailable | None:
        asked.append(None)
        return write_problem()

    monkeypatch.setattr(service.ledger, "write_problem", counted)
    return lambda: asked


def test_many_who_ask_within_a_second_get_one_snapshot(service, clock, looks):
    with ThreadPoolExecutor(8) as many:
        found = list(many.map(lambda _: service.monitor.snapshot(), range(40)))
    assert len({id(one) for one in found}) == 1
    service.monitor.health()
    service.monitor.prometheus()
    service.monitor.gpu()
    assert len(looks()) == 1
    clock.now += 1.0
    assert service.monitor.snapshot() is not found[0]
    assert len(looks()) == 2


def test_health_prometheus_and_stats_tell_of_one_moment(service, photos, clock, looks):
    before = service.monitor.snapshot()
    service.enrollment.enroll("eileen", "Eileen", [("a.png", photos["astronaut"])])
    health, text = service.monitor.health(), service.monitor.prometheus().decode()
    people = next(f for f in text_string_to_metric_families(text) if f.name == "robi_people")
    assert before.ledger.counts is not None
    assert before.ledger.counts.people == people.samples[0].value == 0
    assert health.components[-1].detail == "0 people, 0 templates"
    clock.now += 1.0
    assert service.monitor.health().components[-1].detail == "1 people, 1 templates"


def test_a_ledger_that_cannot_be_read_is_part_of_the_snapshot(service, clock, looks, monkeypatch):
    def away(*_: object) -> None:
        raise Unavailable("ledger_unavailable", "The ledger cannot be used.")

    monkeypatch.setattr(service.ledger.feed, "counts", away)
    monkeypatch.setattr(service.ledger.feed, "head", away)
    seen = service.monitor.snapshot()
    assert seen.ledger.counts is None
    assert seen.ledger.unreadable == "The ledger cannot be used."
    assert not seen.lag_is_known
    assert service.monitor.health().status == "unavailable"
    assert [tier.name for tier in seen.tiers] == ["faiss", "qdrant"]
