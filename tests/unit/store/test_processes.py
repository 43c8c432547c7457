"""Several processes: two on one ledger, each with tiers of its own; and a builder whose parent is killed."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from core.domain.search import Strategy
from core.ledger.ledger import Ledger
from core.store.contract import differs
from core.store.hybrid import HybridVectorStore
from core.store.sync.projection import Projection
from core.store.tiers.edge.tier import QdrantEdgeTier
from tests.unit.store.kit import DIMENSION, PACK, eventually, settings
from tests.unit.store.neighbour import POINTS, face, filled

ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def neighbour(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.unit.store.neighbour", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


class Journal(threading.Thread):
    """What the neighbour says has returned."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__()
        self._process = process
        self.ready = threading.Event()
        self.enrolled: list[int] = []
        self.erased: set[int] = set()
        self.alive: list[int] | None = None

    def run(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            line: dict[str, Any] = json.loads(text)
            self.ready.set()
            if "erased" in line:
                self.erased.add(line["erased"])
            elif "enrolled" in line:
                self.enrolled.append(line["enrolled"])
            self.alive = line.get("alive", self.alive)


def test_what_another_process_erases_is_never_answered_and_what_it_enrolls_is_found(tmp_path: Path) -> None:
    """This process only reads: its follower alone keeps its tiers up to date."""
    ledger = Ledger.open(tmp_path / "ledger.db", PACK)
    store = HybridVectorStore.open(settings(), ledger.feed, PACK, tmp_path / "here")
    dice = np.random.default_rng(3)
    wrong: list[str] = []
    searches = 0
    try:
        with neighbour("write", str(tmp_path)) as process:
            journal = Journal(process)
            journal.start()
            assert journal.ready.wait(60.0)
            while journal.alive is None and journal.is_alive():
                if not journal.enrolled:
                    continue
                gone = {f"p{number}" for number in journal.erased}
                number, strategy = int(dice.choice(journal.enrolled)), list(Strategy)[searches % 3]
                result = store.search(face(number), strategy=strategy)
                wrong += [f"{strategy} returned {c.user_id}" for c in result.candidates if c.user_id in gone]
                searches += 1
            journal.join()
        assert journal.alive is not None, "the neighbour ended before its time"
        assert wrong == []
        assert searches > 20
        assert len(journal.erased) > 20
        assert eventually(lambda: all(state.lag == 0 and state.ok for state in store.states()))
        for strategy in Strategy:
            results = store.search_batch([face(number) for number in journal.alive], strategy=strategy)
            found = [result.best.user_id if result.best else None for result in results]
            assert found == [f"p{number}" for number in journal.alive], strategy
        alive = len(journal.alive)
        assert store.upkeep.left(list(range(1, 121))) == {"faiss": alive, "qdrant": alive}
    finally:
        store.close()
        ledger.close()


@pytest.mark.parametrize("step", ["_fill", "_index", "_check", "_compare_vectors"])
@pytest.mark.slow
def test_a_process_killed_during_a_build_leaves_no_child_and_no_unfinished_generation(
    tmp_path: Path, step: str
) -> None:
    with neighbour("build", str(tmp_path), step) as process:
        assert process.stdout is not None
        children = json.loads(process.stdout.readline())
        assert (tmp_path / "edge" / "gen-2").is_dir()
    assert eventually(lambda: not any(psutil.pid_exists(pid) for pid in children.values()))
    feed = filled()
    tier = QdrantEdgeTier(tmp_path / "edge", DIMENSION, feed=feed, index_from=1000)
    try:
        tier.open()
        assert (tier.seq, tier.count()) == (POINTS, POINTS)
        assert [path.name for path in (tmp_path / "edge").iterdir()] == ["gen-1"]
        projection = Projection(tier, feed, audit=differs)
        projection.catch_up()
        assert projection.check().ok
        assert tier.note is None
    finally:
        tier.close()


LISTENER = """
import socket, sys, time
from core.store.tiers.edge.child import dying_with_parent
end = socket.socket(fileno=int(sys.argv[1]))
with dying_with_parent(end):
    end.send(b"!")
    time.sleep(600)  # no Python runs, as during a long call of the engine
"""


def test_a_child_ends_with_its_parent_even_while_the_engine_holds_the_interpreter() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-c", LISTENER, str(theirs.fileno())]
        child = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=ROOT)
    try:
        assert ours.recv(1) == b"!"
        ours.close()
        assert child.wait(60.0) == -signal.SIGIO
    finally:
        child.kill()
        child.wait()
