from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from core.benchmark.benchmarks import Benchmarks
from core.benchmark.model import (
    Ecdf,
    Estimate,
    MachineNote,
    Measurement,
    Outcome,
    Run,
    RunRequest,
    Setting,
)
from core.domain.faces import Embeddings
from core.domain.search import Strategy
from core.domain.templates import NewTemplate
from core.services.service import RobiService
from tests.unit.store.kit import eventually, faces

EACH = 3


def fill(service: RobiService, people: int, seed: int = 1) -> Embeddings:
    """Enroll people, and wait for both tiers; the templates, shape (people, EACH, dimension)."""
    gallery = faces(np.random.default_rng(seed), people, EACH, service.engine.pack.dimension)
    for number, vectors in enumerate(gallery):
        templates = [NewTemplate(vector, 0.9, "api") for vector in vectors]
        service.ledger.people.enroll(f"p{number}", f"Person {number}", templates)
    assert service.store.sync(service.ledger.feed.head()) == ()
    return gallery


def ended(benchmarks: Benchmarks) -> Outcome:
    """How the run ended, which it must within a minute."""
    assert eventually(lambda: benchmarks.outcome() is not None, 60)
    outcome = benchmarks.outcome()
    assert outcome is not None
    return outcome


def finished(benchmarks: Benchmarks, request: RunRequest) -> Run:
    benchmarks.start(request)
    outcome = ended(benchmarks)
    assert outcome.run is not None, outcome
    return outcome.run


@pytest.fixture
def benchmarks(service: RobiService) -> Iterator[Benchmarks]:
    made = Benchmarks(service)
    yield made
    made.close()


@pytest.fixture
def make_run() -> Callable[..., Run]:
    """A run that nobody measured, with the given changes."""
    from datetime import UTC, datetime

    def make(**values: object) -> Run:
        setting = Setting(Strategy.HYBRID)
        rows = (measured(setting),)
        usual: dict[str, object] = {
            "id": 0,
            "name": "a run",
            "at": datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
            "duration_s": 1.5,
            "complete": True,
            "request": RunRequest((setting,), threshold=0.4),
            "machine": MachineNote(2, 1 << 30, "a processor, Linux", {"numpy": "2"}),
            "gallery_people": 3,
            "gallery_templates": 9,
            "dimension": 128,
            "pack": "open",
            "rows": rows,
            "pareto": (0,),
        }
        return Run(**(usual | values))  # type: ignore[arg-type]

    return make


def measured(setting: Setting, concurrency: int = 1, **values: object) -> Measurement:
    usual: dict[str, object] = {
        "setting": setting,
        "concurrency": concurrency,
        "n": 100,
        "failures": {},
        "latency": Ecdf((0.5, 1.0, 2.0), (0.2, 0.6, 1.0)),
        "p50": Estimate(1.0, 0.9, 1.1),
        "p95": Estimate(2.0, 1.8, 2.3),
        "p99": Estimate(2.5, 2.2, None),
        "throughput_per_s": Estimate(900.0, 850.0, 950.0),
        "recall_at_1": Estimate(0.99, 0.95, 1.0),
        "recall_at_5": None,
        "agreement": Estimate(0.98, 0.94, 0.99),
        "wrong_cache_top1": None,
        "stages": {"hot": 0.2, "cold": 0.7},
        "sources": {"both": 1.0},
        "hot_kind": "PQfs",
        "hot_templates": 9,
        "memory_bytes": 1000,
    }
    return Measurement(**(usual | values))  # type: ignore[arg-type]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path
