"""Real kills, again and again, on the real ledger: nothing acknowledged is lost, nobody comes back."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from core.domain.errors import RobiError
from core.domain.search import Strategy
from core.domain.templates import NewTemplate
from core.ledger.ledger import Ledger
from core.store.hybrid import HybridVectorStore
from core.store.tiers.edge.tier import QdrantEdgeTier
from tests.chaos.seed import SEED
from tests.unit.store.kit import PACK, eventually, faces, settings

pytestmark = pytest.mark.chaos

NUMBER = zlib.crc32(SEED.encode())
KILLS = 20
LONGEST = 120.0  # seconds, within which there are so many


class Siege:
    """Readers and a writer on one store, while somebody keeps killing its engine."""

    def __init__(self, directory: Path) -> None:
        self.ledger = Ledger.open(directory / "ledger.db", PACK)
        self.tier = QdrantEdgeTier(directory / "edge", PACK.dimension)
        self.store = HybridVectorStore(settings(), self.ledger.feed, PACK, self.tier)
        self.gallery = faces(np.random.default_rng(NUMBER), 3000, 1)[:, 0]
        self.alive: dict[str, int] = {}
        self.erased: set[str] = set()
        self.wrong: list[str] = []
        self.kills = 0
        self.end = time.monotonic() + LONGEST
        self.over = threading.Event()

    def run(self) -> None:
        self.store.start()
        jobs = (self.read, self.read, self.kill)
        threads = [threading.Thread(target=job) for job in jobs]
        for thread in threads:
            thread.start()
        self.write()
        for thread in threads:
            thread.join()

    def close(self) -> None:
        self.store.close()
        self.ledger.close()

    def read(self) -> None:
        dice = random.Random(NUMBER)
        while not self.over.is_set():
            gone, known = set(self.erased), list(self.alive)
            if known:
                self.check(dice.choice(known), dice.choice(list(Strategy)), gone)

    def check(self, user_id: str, strategy: Strategy, gone: set[str]) -> None:
        try:
            result = self.store.search(self.gallery[int(user_id[1:])], strategy=strategy)
        except RobiError as problem:
            self.wrong.append(f"refused: {problem.code}")
        else:
            self.wrong += [f"ghost {c.user_id}" for c in result.candidates if c.user_id in gone]

    def kill(self) -> None:
        dice = random.Random(NUMBER + 1)
        while self.kills < KILLS and time.monotonic() < self.end:
            time.sleep(dice.uniform(0.05, 0.5))
            if self.tier.pid is not None:
                os.kill(self.tier.pid, signal.SIGKILL)
                self.kills += 1
        self.over.set()

    def write(self) -> None:
        dice = random.Random(NUMBER + 2)
        for number, vector in enumerate(self.gallery):
            if self.over.is_set():
                return
            new = [NewTemplate(vector, 1.0, "api")]
            enrollment = self.ledger.people.enroll(f"p{number}", f"Person {number}", new)
            self.store.sync(enrollment.seq)
            self.alive[f"p{number}"] = enrollment.template_ids[0]
            if dice.random() < 0.3:
                self.erase(dice.choice(list(self.alive)))

    def erase(self, user_id: str) -> None:
        erasure = self.ledger.people.erase(user_id)
        self.erased.add(user_id)
        del self.alive[user_id]
        self.store.sync(erasure.seq)


def test_engine_killed_at_random_moments_during_writes_and_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Callable[[str], None]
) -> None:
    monkeypatch.setattr("core.store.tiers.edge.engine.RESTART_WINDOW", 0.0)  # here it is meant to keep dying
    siege = Siege(tmp_path)
    siege.run()
    tell(f"engine killed {siege.kills} times; {len(siege.alive)} alive, {len(siege.erased)} erased")
    store, tier = siege.store, siege.tier
    assert siege.wrong == []
    assert siege.kills == KILLS
    assert eventually(
        lambda: store.sync(siege.ledger.feed.head()) == () and all(s.ok for s in store.states())
    )
    assert tier.count() == len(siege.alive)
    assert set(tier.held(list(siege.alive.values()))) == set(siege.alive.values())
    siege.close()


HOLDER = """
import sys, time
from pathlib import Path
from core.store.tiers.edge.tier import QdrantEdgeTier
tier = QdrantEdgeTier(Path(sys.argv[1]), 8)
tier.open()
print(tier.pid, flush=True)
time.sleep(600)
"""


def test_the_engine_ends_when_its_parent_is_killed_and_the_directory_is_free_again(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "edge")], stdout=subprocess.PIPE, cwd=root, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert psutil.pid_exists(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    successor = QdrantEdgeTier(tmp_path / "edge", 8)
    successor.open()  # waits while the orphan still holds the directory
    assert eventually(lambda: not psutil.pid_exists(child))
    assert successor.note is None, "a locked directory is not an unreadable one"
    successor.close()
