"""The Nth call at one edge fails, for N = 1, 2, 3 … until a run passes without it: nothing is lost or left.

Every kind of failure is a test. ROBI_CHAOS_NTH repeats a single N; the moments at which background threads
make their calls differ from run to run, what is asked does not.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from core.config.settings import Settings
from core.faces.engine import FaceEngine
from tests.chaos.injector import SQLITE_ERRORS, CallFaults, Fault, child_faults, faiss_faults, sqlite_faults
from tests.chaos.proxy import Proxy
from tests.chaos.seed import SEED
from tests.chaos.world import World
from tests.qdrant_double import QdrantDouble
from tests.unit.store.kit import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

ONLY = os.environ.get("ROBI_CHAOS_NTH")
LASTING = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)  # the first of the calls that fail, where all do from there on
NAMING_SECONDS = 10.0

Edge = Callable[[Fault, str], AbstractContextManager[dict[str, object]]]
"""Has calls fail by a fault, in a certain way, and gives the settings to go through it."""


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sizes and short pauses, so that a script of a second meets all the work that a day brings."""
    for name, value in {
        "core.store.sync.follower.FIRST_BACKOFF": 0.02,
        "core.store.sync.follower.MAX_BACKOFF": 0.2,
        "core.store.tiers.edge.engine.RESTART_WINDOW": 1.0,
        "core.store.tiers.faiss.index_builder.RETRY_SECONDS": 0.05,
        "core.store.tiers.faiss.tier.SPARE_ROOM": 4,
        "core.store.tiers.faiss.vector_table.SPARE_ROOM": 4,
        "core.store.tiers.faiss.index_builder.LONGEST_TAIL": 8,  # places of one byte of the bitmap
        "core.store.tiers.faiss.index_builder.FEWEST_DEAD": 3,
        "core.store.tiers.faiss.index.FEWEST": {"PQfs": 16},
    }.items():
        monkeypatch.setattr(name, value)


@pytest.fixture(scope="module")
def gallery(engine: FaceEngine, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Eight people, enrolled while all was well; each run begins with a copy of their ledger.

    The numbers that are given next lie where tables by number have to grow.
    """
    directory = tmp_path_factory.mktemp("gallery")
    world = World(Settings(_env_file=None, robi_data_dir=directory, qdrant_url=""), engine, seed=SEED)
    world.open()
    for number in range(8):
        world.enroll(number, 2)
    world.settle()
    world.close()
    assert not world.broken
    with closing(sqlite3.connect(directory / "ledger.db")) as ledger:
        ledger.execute("UPDATE sqlite_sequence SET seq = 1022 WHERE name IN ('people', 'templates')")
        ledger.commit()
    return world


def morning(world: World) -> None:
    world.enroll(8, 2)
    world.enroll(1)
    world.rename(2, "Another name")
    world.erase(3)
    world.erase_unknown()
    world.merge(4, 5)
    world.tell_apart(1, 2, 0.11)
    world.tune(index_type=another_index(world), threshold=0.37)
    world.look_for(4, 3)
    world.look_at_health()


def evening(world: World) -> None:
    world.enroll(9, 3)
    world.erase(0)
    world.enroll(3)
    world.look_for(3)
    world.rebuild("faiss")
    world.rebuild("qdrant")
    world.undo()
    world.erase(9)
    world.look_for(9, 2)
    world.look_at_health()


def another_index(world: World) -> str:
    return "PQfs" if world.settings.faiss_index_type == "SQfp16" else "SQfp16"


def whole_day(world: World, _fault: Fault) -> None:
    world.open()
    morning(world)
    world.close()
    world.open()
    evening(world)


def bad_morning(world: World, fault: Fault) -> None:
    """All fails from the Nth call on, until it is over; meanwhile it is named."""
    fault.end()
    world.open()
    fault.begin()
    morning(world)
    if fault.fired:
        assert_named(world)
    fault.end()
    evening(world)


def assert_named(world: World) -> None:
    """A part that comes back only to go again is well for moments: one look can meet one of those."""
    if not eventually(lambda: named_or_well(world), NAMING_SECONDS):
        world.broken.append(f"something is wrong, and health says {world.look_at_health()}")


def named_or_well(world: World) -> bool:
    world.look_at_health()
    troubled = world.refused or any(s.lag or not s.ok or s.error for s in world.states())
    return world.named or not troubled


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of failure at one edge; with several `hows` the dice say which one is next."""

    name: str
    edge: Edge
    hows: tuple[str, ...]
    lasting: bool = False

    def how(self, nth: int) -> str:
        return random.Random(f"{SEED}/{self.name}/{nth}").choice(self.hows)


@pytest.fixture
def until_clean(tmp_path: Path, gallery: World, tell: Callable[[str], None]) -> Callable[[Kind], None]:
    def run(kind: Kind) -> None:
        outcomes: Counter[str] = Counter()
        numbers: Iterable[int] = [int(ONLY)] if ONLY else LASTING if kind.lasting else count(1)
        for nth in numbers:
            fault = Fault(nth, lasting=kind.lasting)
            world = run_once(tmp_path / str(nth), gallery, kind, fault)
            struck = f"{kind.how(nth)} at {', '.join(fault.struck[:3])}"
            replay = f"{kind.name}, N = {nth} ({struck}); ROBI_CHAOS_SEED={SEED} ROBI_CHAOS_NTH={nth}"
            assert not world.broken, f"{replay}\n" + "\n".join(world.broken)
            if not fault.fired:
                break
            outcomes["refused" if world.refused else "named" if world.named else "made good unseen"] += 1
        told = ", ".join(f"{number} {what}" for what, number in sorted(outcomes.items()))
        tell(f"{kind.name} ({'; '.join(kind.hows)}): N = {nth}, {fault.calls} calls; {told}")

    return run


def run_once(directory: Path, gallery: World, kind: Kind, fault: Fault) -> World:
    how = kind.how(fault.nth)
    directory.mkdir()
    shutil.copy(gallery.settings.robi_data_dir / "ledger.db", directory)
    with kind.edge(fault, how) as values:
        settings = Settings(_env_file=None, robi_data_dir=directory, use_gpu="false", **values)
        world = World(settings, gallery.engine, seed=SEED, answers_lost=how == "answer lost")
        world.remember(gallery)
        try:
            (bad_morning if kind.lasting else whole_day)(world, fault)
            fault.end()
            world.settle()
        finally:
            fault.end()
            world.close()
    shutil.rmtree(directory)
    return world


# ------------------------------------------------------------ the edges


@contextmanager
def server(fault: Fault | None = None, how: str = "") -> Iterator[dict[str, object]]:
    """A Qdrant server behind a wire that can be cut; its calls fail where `fault` says so."""
    with QdrantDouble() as double, Proxy(double.grpc_port) as proxy:
        if fault is not None:
            double.stop()
            double.faults = CallFaults(fault, how, proxy.reset)
            double.start()
        yield {
            "qdrant_url": double.url,
            "qdrant_grpc_port": proxy.port,
            "qdrant_timeout_seconds": 1 if how.startswith("deadline") else 10,
        }


@contextmanager
def ledger_writes(fault: Fault, how: str) -> Iterator[dict[str, object]]:
    with server() as values, sqlite_faults(fault, how, writes=True):
        yield values


@contextmanager
def ledger_reads(fault: Fault, how: str) -> Iterator[dict[str, object]]:
    with server() as values, sqlite_faults(fault, how, writes=False):
        yield values


@contextmanager
def edge_child(fault: Fault, how: str) -> Iterator[dict[str, object]]:
    with child_faults(fault, how):
        yield {"qdrant_url": ""}


@contextmanager
def hot_tier(fault: Fault, how: str) -> Iterator[dict[str, object]]:
    """`how` is a kind of index, and what it fails with."""
    kind, _, problem = how.partition(" ")
    with server() as values, faiss_faults(fault, problem):
        yield {**values, "faiss_index_type": kind}


LOST = "answer lost"
WRITES = (*SQLITE_ERRORS, "rolled back", LOST)
READS = ("disk I/O error", "database is locked")
CALLS = tuple(
    how + done for how in ("unavailable", "deadline", "connection reset") for done in ("", ", done")
)


@pytest.mark.parametrize(
    "kind",
    [
        Kind("ledger write", ledger_writes, WRITES),
        Kind("ledger read", ledger_reads, READS),
        Kind("Edge child, sending", edge_child, ("send fails",)),
        Kind("Edge child, answer", edge_child, (LOST,)),
        Kind("Edge child, death", edge_child, ("child dies",)),
        Kind("Qdrant call", server, CALLS),
        Kind("memory", hot_tier, ("SQfp16 MemoryError",)),
        Kind("FAISS", hot_tier, ("SQfp16 RuntimeError",)),
        Kind("FAISS, fast scan", hot_tier, ("PQfs RuntimeError",)),
        Kind("ledger writes from N on", ledger_writes, ("database or disk is full",), lasting=True),
        Kind("ledger reads from N on", ledger_reads, ("disk I/O error",), lasting=True),
        Kind("Edge child from N on", edge_child, ("child dies",), lasting=True),
        Kind("Qdrant calls from N on", server, ("unavailable",), lasting=True),
        Kind("FAISS from N on", hot_tier, ("SQfp16 RuntimeError",), lasting=True),
    ],
    ids=lambda kind: kind.name,
)
def test_the_nth_call_fails(kind: Kind, until_clean: Callable[[Kind], None]) -> None:
    until_clean(kind)
