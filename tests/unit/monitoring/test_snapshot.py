"""One snapshot of the system, however many ask, and nobody who tells of it contradicts another."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.domain.errors import Unavailable
from core.domain.system import ComponentHealth
from core.monitoring import snapshot
from core.monitoring.monitor import Monitor
from core.services.service import RobiService
from tests.qdrant_double import QdrantDouble
from tests.unit.store.kit import eventually


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def monitor(service: RobiService, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Monitor:
    monkeypatch.setattr(snapshot, "FRESH_S", 1.0)
    return Monitor(service.settings, service.engine, service.ledger, service.store, service.backups, clock)


@pytest.fixture
def looks(service: RobiService, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[None]]:
    """How often the ledger was asked whether it can be written."""
    write_problem, asked = service.ledger.write_problem, []

    def counted() -> Unavailable | None:
        asked.append(None)
        return write_problem()

    monkeypatch.setattr(service.ledger, "write_problem", counted)
    return lambda: asked


def test_many_who_ask_within_a_second_get_one_snapshot(monitor: Monitor, clock, looks):
    with ThreadPoolExecutor(8) as many:
        found = list(many.map(lambda _: monitor.snapshot(), range(40)))
    assert len({id(one) for one in found}) == 1
    monitor.health()
    monitor.prometheus()
    monitor.stats()
    assert len(looks()) == 1
    clock.now += 1.0
    assert monitor.snapshot() is not found[0]
    assert len(looks()) == 2


def test_health_prometheus_and_stats_tell_of_one_moment(service, monitor: Monitor, photos, clock):
    before = monitor.snapshot()
    service.enrollment.enroll("eileen", "Eileen", [("a.png", photos["astronaut"])])
    health, text, stats = monitor.health(), monitor.prometheus().decode(), monitor.stats()
    people = next(f for f in text_string_to_metric_families(text) if f.name == "robi_people")
    assert before.ledger.counts is not None
    assert before.ledger.counts.people == people.samples[0].value == stats["gallery"]["people"] == 0
    assert stats["tiers"]["faiss"]["templates"] == stats["memory"]["hot_bytes_per_template"] == 0
    assert health.components[-1].detail == "0 people, 0 templates"
    clock.now += 1.0
    assert monitor.health().components[-1].detail == "1 person, 1 template"
    assert monitor.stats()["gallery"]["people"] == 1


def test_how_everything_stands_is_looked_at_once_for_stats(service, monitor: Monitor, monkeypatch):
    asked = []
    for part, name in (
        (service.store, "states"),
        (service.ledger.feed, "head"),
        (service.metrics, "snapshot"),
    ):
        look = getattr(part, name)
        monkeypatch.setattr(part, name, lambda look=look, name=name: asked.append(name) or look())
    monitor.stats()
    assert sorted(asked) == ["head", "snapshot", "states"]


def test_health_and_scrapes_do_not_wait_for_what_an_engine_says_of_itself(
    service, monitor: Monitor, monkeypatch
):
    asked = []
    info = service.store.tiers["qdrant"].tier.info
    monkeypatch.setattr(service.store.tiers["qdrant"].tier, "info", lambda: asked.append(None) or info())
    monitor.health()
    monitor.prometheus()
    monitor.report()
    assert not asked
    monitor.stats()
    assert len(asked) == 1


def test_a_ledger_that_cannot_be_read_is_part_of_the_snapshot(service, monitor: Monitor, monkeypatch):
    def away(*_: object) -> None:
        raise Unavailable("ledger_unavailable", "The ledger cannot be used.")

    monkeypatch.setattr(service.ledger.feed, "counts", away)
    monkeypatch.setattr(service.ledger.feed, "head", away)
    seen = monitor.snapshot()
    assert seen.ledger.counts is None
    assert str(seen.ledger.read) == "The ledger cannot be used."
    assert not seen.lag_is_known
    assert monitor.health().status == "unavailable"
    for _ in range(2):
        with pytest.raises(Unavailable, match="cannot be used") as refused:
            monitor.stats()
        assert refused.value.code == "ledger_unavailable"
    assert monitor.report().measured.window.searches == 0, "what needs no ledger is there"
    assert [tier.name for tier in seen.tiers] == ["faiss", "qdrant"]


def test_a_lost_copy_of_qdrant_is_trouble_that_names_the_node(make_service: Callable[..., RobiService]):
    with QdrantDouble() as double, QdrantDouble(host="127.0.0.2", beside=double) as other:
        service = make_service(
            qdrant_url=f"{double.url},{other.url}",
            qdrant_grpc_port=double.grpc_port,
            qdrant_timeout_seconds=10,
        )
        assert eventually(lambda: part(service, "qdrant").status == "ok")
        well = datetime.now(UTC)
        other.stop()
        assert eventually(lambda: part(service, "qdrant").status == "degraded", 20.0)
        detail = f"It answers, but has lost a copy: {other.url} does not answer; start it again."
        assert eventually(lambda: part(service, "qdrant").detail == detail)
        since = part(service, "qdrant").since
        assert since > well, "not since it was connected"
        assert part(service, "qdrant").since == since
        assert service.store.states()[1].ok, "it has every change, and searches ask it"


def part(service: RobiService, name: str) -> ComponentHealth:
    return next(one for one in service.monitor.health().components if one.name == name)
