"""The other process of `test_processes`: one that enrolls and erases, or one that builds and is killed at it.

Run as `python -m tests.unit.store.neighbour JOB DIRECTORY [STEP]`; tells one JSON object a line.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from core.domain.faces import Embedding
from core.domain.templates import NewTemplate
from core.ledger.ledger import Ledger
from core.store.hybrid import HybridVectorStore
from core.store.sync.projection import Projection
from core.store.tiers.edge.builder import Build
from core.store.tiers.edge.tier import QdrantEdgeTier
from tests.unit.store.kit import DIMENSION, PACK, MemoryFeed, faces, settings, unit

POINTS = 6000  # a graph of them takes some seconds


def face(number: int) -> Embedding:
    return unit(np.random.default_rng(number).standard_normal(DIMENSION))


def filled() -> MemoryFeed:
    feed = MemoryFeed()
    for number, templates in enumerate(faces(np.random.default_rng(5), POINTS // 5, 5)):
        feed.enroll(f"p{number}", templates)
    return feed


def tell(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def write(directory: Path) -> None:
    """Enroll and erase until told to stop, with tiers of its own; a line follows what has returned."""
    ledger = Ledger.open(directory / "ledger.db", PACK)
    store = HybridVectorStore.open(settings(), ledger.feed, PACK, directory / "neighbour")
    dice, alive = random.Random(7), list[int]()
    tell(ready=True)
    for number in range(120):
        enrollment = ledger.people.enroll(
            f"p{number}", f"Name {number}", [NewTemplate(face(number), 1.0, "api")]
        )
        store.sync(enrollment.seq)
        alive.append(number)
        tell(enrolled=number)
        if dice.random() < 0.5:
            gone = alive.pop(dice.randrange(len(alive)))
            store.sync(ledger.people.erase(f"p{gone}").seq)
            tell(erased=gone)
    tell(alive=alive)
    store.close()
    ledger.close()


def build(directory: Path, step: str) -> None:
    """Begin a new generation, and stay in a step of it for ever; `optimize` really takes its time."""
    feed = filled()
    tier = QdrantEdgeTier(directory / "edge", DIMENSION, feed=feed, index_from=1000)
    Projection(tier, feed).catch_up()
    real = getattr(Build, step)

    def linger(build: Build, *arguments: Any) -> Any:
        tell(pid=tier.pid, builder=build.pid)
        if step != "_index":
            time.sleep(600)
        return real(build, *arguments)

    setattr(Build, step, linger)
    tier.renew()


if __name__ == "__main__":
    job, directory, *rest = sys.argv[1:]
    {"write": write, "build": build}[job](Path(directory), *rest)
