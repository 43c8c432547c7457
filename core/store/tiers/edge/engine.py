"""One Edge shard under supervision: a child process that is replaced when it dies or hangs."""

from __future__ import annotations

import logging
import shutil
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.domain.faces import Embedding, Embeddings
from core.domain.search import Hit
from core.runtime import disk
from core.runtime.child_process import ChildGone
from core.store.contract import MARKER_ID, TierBatch, TierDown
from core.store.tiers.edge.process import EdgeProcess, EngineError

logger = logging.getLogger("robi.store.edge")

T = TypeVar("T")

LOAD_SECONDS = 30.0  # for a large shard; 100k x 128 take 0.3 s
APPLY_SECONDS = 8.0  # 500 changes take some 20 ms
LOCK_WAIT_SECONDS = 0.2  # between attempts while a dying predecessor still holds the directory
MAX_RESTARTS = 5  # within RESTART_WINDOW seconds; more is a crash loop, left to the follower's back-off
RESTART_WINDOW = 60.0
IDS_AT_A_TIME = 10_000  # some 10 ms of the engine's time


@dataclass(slots=True)
class Record:
    """What happened to the engines of a tier, of whatever generation."""

    restarts: int = 0
    errors: int = 0
    set_aside: bool = False
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_RESTARTS))


class EdgeEngine:
    """Not thread-safe. Every operation is idempotent, so reads are asked again once after a replacement;
    a write is left to the caller, who first looks where the new child stands.

    Raises of every call: TierDown.
    """

    def __init__(
        self,
        directory: Path,
        dimension: int,
        record: Record,
        *,
        aside: Path | None = None,
        closed: Callable[[], bool] = lambda: False,
    ) -> None:
        """`aside` is where an unreadable directory goes; without it such a directory is refused."""
        self.directory = directory
        self._dimension = dimension
        self._record = record
        self._aside = aside
        self._closed = closed
        self._child: EdgeProcess | None = None
        self.seq = 0
        self.starts = 0

    @property
    def pid(self) -> int | None:
        child = self._child
        return child.pid if child else None

    @property
    def running(self) -> bool:
        return self._child is not None

    def start(self) -> None:
        """Start a child and wait until it has loaded; an unreadable directory is set aside and begun anew."""
        self._child = None
        try:
            self.directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            raise TierDown("The Edge engine's directory cannot be made.") from None
        self._child, self.seq = self._load()
        self.starts += 1
        logger.info("the Edge engine is ready at seq %d", self.seq)

    def search(self, probes: Embeddings, limit: int, ef: int, deadline: float) -> list[list[Hit]]:
        body = probes.tobytes()
        return self._answer("search", lambda child: child.search(body, limit, ef, deadline), retry=True)

    def apply(self, batch: TierBatch, deadline: float = APPLY_SECONDS) -> int:
        """Returns the seq that the engine stands at now."""
        self.seq = self._answer("apply", lambda child: child.apply(batch, deadline), retry=False)
        return self.seq

    def count(self, deadline: float) -> int:
        return int(self._ask("count", deadline=deadline))

    def held(self, template_ids: Collection[int], deadline: float) -> Mapping[int, Embedding]:
        found = self._ask("held", list(template_ids), deadline=deadline)
        return {template_id: np.frombuffer(row, np.float32) for template_id, row in found}

    def ids_after(self, after: int, deadline: float) -> NDArray[np.int64]:
        """The next ids above `after`, ascending; none when there are no more."""
        return np.frombuffer(self._ask("ids", after, IDS_AT_A_TIME, deadline=deadline), np.int64)

    def all_ids(self, deadline: float) -> Iterator[NDArray[np.int64]]:
        """Parts of all ids; the deadline is for each."""
        last = MARKER_ID
        while len(part := self.ids_after(last, deadline)):
            last = int(part[-1])
            yield part

    def info(self, deadline: float) -> Mapping[str, float]:
        found: Mapping[str, float] = self._ask("info", deadline=deadline)
        return found

    def close(self) -> None:
        if self._child is not None:
            self._child.close(APPLY_SECONDS)
            self._child = None

    def kill(self) -> None:
        """End it at once, for good; what it had not flushed may be lost."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _ask(self, operation: str, *arguments: object, deadline: float) -> Any:
        return self._answer(
            operation, lambda child: child.request(operation, *arguments, deadline=deadline), retry=True
        )

    def _answer(self, operation: str, ask: Callable[[EdgeProcess], T], *, retry: bool) -> T:
        if self._child is None:
            raise TierDown("The Edge engine is not running.")
        try:
            return ask(self._child)
        except ChildGone as problem:
            self._replace(str(problem))
            if retry:
                return self._answer(operation, ask, retry=False)
            raise TierDown("The Edge engine was restarted.") from None
        except EngineError as problem:
            self._record.errors += 1
            logger.warning("the Edge engine refused %s: %s", operation, problem)
            raise TierDown("The Edge engine refused a request.") from None

    def _replace(self, reason: str) -> None:
        self._child = None
        record, now = self._record, time.monotonic()
        record.errors += 1
        if len(record.recent) == MAX_RESTARTS and now - record.recent[0] < RESTART_WINDOW:
            raise TierDown("The Edge engine keeps ending.")
        record.recent.append(now)
        record.restarts += 1
        logger.warning("replacing the Edge engine: %s", reason)
        self.start()

    def _load(self) -> tuple[EdgeProcess, int]:
        deadline = time.monotonic() + LOAD_SECONDS
        deaths = 0
        moved = False
        while not self._closed():
            child, status, answer = self._spawn(deadline)
            if status == "ready":
                if not moved and self._aside is not None:
                    shutil.rmtree(self._aside, ignore_errors=True)  # after a start that went well
                return child, int(answer)
            logger.warning("the Edge engine did not load its directory (%s): %s", status, answer)
            if status != "locked" and disk.is_full(self.directory.parent):
                raise TierDown("The disk is full: the Edge engine cannot start.")
            deaths += status == "died"
            if status == "locked" and time.monotonic() < deadline:
                time.sleep(LOCK_WAIT_SECONDS)
            elif status == "died" and deaths == 1:
                continue  # anything can kill a process once; twice over the same directory is the directory
            elif status in ("died", "unreadable") and self._aside is not None and not moved:
                moved = True
                self._put_aside(self._aside)
            else:
                break
        raise TierDown("The Edge engine cannot open its directory.")

    def _spawn(self, deadline: float) -> tuple[EdgeProcess, str, Any]:
        """A new child and how its loading went; it is dead unless that is "ready"."""
        child = spawn(self.directory, self._dimension)
        status, answer = child.loaded(max(1.0, deadline - time.monotonic()))
        if status != "ready":
            child.kill()
        return child, status, answer

    def _put_aside(self, aside: Path) -> None:
        """Keep an unreadable directory until the next good start; the ledger can rebuild what it held."""
        if not self.directory.exists():
            return
        shutil.rmtree(aside, ignore_errors=True)
        self.directory.rename(aside)
        self._record.set_aside = True
        logger.error("the unreadable Edge directory was set aside as %s", aside.name)


def spawn(directory: Path, dimension: int, *, nice: int = 0) -> EdgeProcess:
    """A child that has started, and not yet opened its directory.

    Raises:
        TierDown: it cannot be started.
    """
    try:
        child = EdgeProcess(directory, dimension, nice=nice)
    except OSError as problem:
        logger.warning("the Edge engine cannot be started: %s", problem)
        raise TierDown("The Edge engine cannot be started.") from None
    try:
        child.start()
    except ChildGone:
        raise TierDown("The Edge engine cannot be started.") from None
    return child
