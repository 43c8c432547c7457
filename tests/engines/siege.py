"""People who come, go and are looked for all the time, and what became of each."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.domain.faces import Embedding
from core.domain.search import SearchResult, Strategy
from core.domain.system import TierState
from core.domain.templates import NewTemplate
from core.ledger.ledger import Ledger
from core.store.hybrid import HybridVectorStore
from tests.unit.store.kit import PACK, faces, settings

PAUSE = 0.03  # between two searches, and between two writes: the machine has other things to do
EACH = 2  # templates of a person
IN_STEP_SECONDS = 60.0


@dataclass(slots=True)
class Figures:
    """What was seen while it went on."""

    enrolled: int = 0
    erased: int = 0
    searches: int = 0
    without_qdrant: int = 0  # answered by the cache alone, although Qdrant was asked
    slowest: float = 0.0  # seconds
    lost: list[str] = field(default_factory=list)
    risen: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.enrolled} enrolled, {self.erased} erased, {self.searches} searches "
            f"({self.without_qdrant} not by Qdrant, slowest {1e3 * self.slowest:.0f} ms), "
            f"lost {len(self.lost)}, risen {len(self.risen)}"
        )


class Siege:
    """One gallery, with a thread that writes and one that searches while `going_on`."""

    def __init__(self, directory: Path, seed: int, **values: object) -> None:
        self._random = np.random.default_rng(seed)
        self._ledger = Ledger.open(directory / "ledger.db", PACK)
        chosen = settings(**values)
        self.store = HybridVectorStore.open(chosen, self._ledger.feed, PACK, directory)
        self._lock = threading.Lock()
        self._alive: dict[str, Embedding] = {}  # acknowledged, with a face
        self._gone: dict[str, Embedding] = {}
        self._ids: dict[str, Sequence[int]] = {}
        self.figures = Figures()

    def close(self) -> None:
        self.store.close()
        self._ledger.close()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        ended = threading.Event()
        failed: list[BaseException] = []
        threads = [
            threading.Thread(target=self._until, args=(ended, step, failed))
            for step in (self.write, self._look)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        if failed:
            raise failed[0]

    def write(self) -> None:
        """Enroll somebody, or erase every third."""
        if len(self._alive) > 5 and self._random.random() < 1 / 3:
            with self._lock:
                name = sorted(self._alive)[int(self._random.integers(len(self._alive)))]
                face = self._alive.pop(name)
            erasure = self._ledger.people.erase(name)
            with self._lock:
                self._gone[name] = face
            self.store.sync(erasure.seq)
            self.figures.erased += 1
        else:
            name = f"p{self.figures.enrolled:05}"
            templates = faces(self._random, 1, EACH)[0]
            new = [NewTemplate(row, 1.0, "api") for row in templates]
            written = self._ledger.people.enroll(name, name, new)
            self.store.sync(written.seq)
            with self._lock:  # acknowledged now
                self._alive[name] = templates[0]
                self._ids[name] = written.template_ids
            self.figures.enrolled += 1

    def state(self) -> TierState:
        return self.store.states()[1]

    def lost(self) -> str | None:
        """Which copies are missing."""
        return self.store.upkeep.server.lost if self.store.upkeep.server else None

    def in_step(self) -> float:
        """Seconds until Qdrant has everything."""
        started = time.monotonic()
        while not (self.state().ok and self.state().lag == 0):
            assert time.monotonic() - started < IN_STEP_SECONDS, self.state()
            time.sleep(0.01)
        return time.monotonic() - started

    def audit(self) -> None:
        """Everybody by every strategy; and Qdrant's own templates are those of the ledger, one by one."""
        for strategy in Strategy:
            for name, face in self._alive.items():
                if _best(self.store.search(face, strategy=strategy)) != name:
                    self.figures.lost.append(f"{name} by {strategy}")
            for name, face in self._gone.items():
                if name in _named(self.store.search(face, strategy=strategy)):
                    self.figures.risen.append(f"{name} by {strategy}")
        held = set(self.store.tiers["qdrant"].tier.ids().tolist())
        wanted = {template for name in self._alive for template in self._ids[name]}
        self.figures.lost += [f"template {template} in Qdrant" for template in wanted - held]
        self.figures.risen += [f"template {template} in Qdrant" for template in held - wanted]

    def _until(self, ended: threading.Event, step: object, failed: list[BaseException]) -> None:
        while not ended.wait(PAUSE):
            try:
                step()  # type: ignore[operator]
            except BaseException as problem:  # noqa: BLE001  the test tells of it
                failed.append(problem)
                return

    def _look(self) -> None:
        """For somebody who is there, and for somebody who is gone."""
        with self._lock:
            there = list(self._alive.items())[-40:]
            gone = list(self._gone.items())[-40:]
        strategy = list(Strategy)[self.figures.searches % 3]
        if there:
            name, face = there[self.figures.searches % len(there)]
            found = self._search(face, strategy)
            with self._lock:
                still = name in self._alive
            if still and _best(found) != name and not found.degraded:  # which says that some may be missing
                self.figures.lost.append(f"{name} by {strategy} while it went on")
        if gone:
            name, face = gone[self.figures.searches % len(gone)]
            if name in _named(self._search(face, strategy)):
                self.figures.risen.append(f"{name} by {strategy} while it went on")

    def _search(self, face: Embedding, strategy: Strategy) -> SearchResult:
        started = time.monotonic()
        found = self.store.search(face, strategy=strategy)
        figures = self.figures
        figures.slowest = max(figures.slowest, time.monotonic() - started)
        figures.searches += 1
        figures.without_qdrant += strategy is not Strategy.FAISS_FIRST and "qdrant" not in found.tiers
        return found


def _best(found: SearchResult) -> str | None:
    return found.best.user_id if found.best else None


def _named(found: SearchResult) -> set[str]:
    return {candidate.user_id for candidate in found.candidates}
