"""The cold tier inside this machine: Qdrant Edge in a supervised child process."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from core.store.cold import Stale, TierDown, condense
from core.store.edge_process import ChildGone, EdgeProcess, EngineError
from core.types import Change, Embedding, Embeddings, Hit

logger = logging.getLogger("robi.store.edge")

START_SECONDS = 30.0  # loading a large shard; an empty one takes 0.3 s
SEARCH_SECONDS = 2.0  # 64 probes over a million templates take about one
APPLY_SECONDS = 15.0
LOCK_WAIT_SECONDS = 0.2  # between attempts while a dying predecessor still holds the directory
MAX_RESTARTS = 5  # within RESTART_WINDOW seconds; more is a crash loop, left to the follower's back-off
RESTART_WINDOW = 60.0


class QdrantEdgeTier:
    """Thread-safe; requests are answered one at a time.

    A child that dies or misses its deadline is replaced at once. Every operation is idempotent, so reads are
    simply asked again; a write is left to the follower, which first looks where the new child stands.
    """

    name = "qdrant"
    kind = "edge"

    def __init__(self, directory: Path, dimension: int, *, search_seconds: float = SEARCH_SECONDS) -> None:
        self._directory = directory
        self._dimension = dimension
        self._search_seconds = search_seconds
        self._lock = threading.Lock()
        self._child: EdgeProcess | None = None
        self._closed = False
        self._seq = 0
        self._generation = 0
        self._restarts = 0
        self._errors = 0
        self._recent_restarts: deque[float] = deque(maxlen=MAX_RESTARTS)
        self._set_aside = False

    @property
    def seq(self) -> int:
        return self._seq

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def note(self) -> str | None:
        if self._set_aside:
            return "The Qdrant directory was unreadable. It was set aside and rebuilt from the ledger."
        return None

    @property
    def pid(self) -> int | None:
        """Of the child, for monitoring."""
        child = self._child
        return child.pid if child else None

    def open(self) -> None:
        with self._exclusive(START_SECONDS):
            if self._child is None:
                self._start()

    def apply(self, changes: Sequence[Change], *, after: int) -> None:
        batch = condense(changes, self._dimension)
        message = ("apply", batch.ids, batch.persons, batch.vectors.tobytes(), batch.drops, batch.seq)
        with self._exclusive(APPLY_SECONDS):
            if self._seq != after:
                raise Stale("The Edge engine was reopened at another position.")
            self._seq = int(self._ask(message, APPLY_SECONDS, retry=False))

    def search(self, probes: Embeddings, limit: int) -> list[list[Hit]]:
        message = ("search", probes.tobytes(), limit)
        with self._exclusive(self._search_seconds):
            rows = self._ask(message, self._search_seconds)
        return [[Hit(template_id, score) for template_id, score in row] for row in rows]

    def count(self) -> int:
        with self._exclusive(self._search_seconds):
            return int(self._ask(("count",), self._search_seconds))

    def held(self, template_ids: Collection[int]) -> Mapping[int, Embedding]:
        with self._exclusive(self._search_seconds):
            found = self._ask(("held", list(template_ids)), self._search_seconds)
        return {template_id: np.frombuffer(row, np.float32) for template_id, row in found}

    def clear(self) -> None:
        with self._exclusive(START_SECONDS):
            if self._child is not None:
                self._child.kill()
            shutil.rmtree(self._directory, ignore_errors=True)
            self._start()

    def maintain(self) -> None:
        """Nothing: `optimize()` would block every search for as long as it runs (100k x 128: 73 s)."""

    def info(self) -> Mapping[str, Any]:
        with self._exclusive(self._search_seconds):
            found = self._ask(("info",), self._search_seconds)
        indexed = found["indexed"]
        return {
            "segments": found["segments"],
            "index": f"HNSW over {indexed} points" if indexed else "none: exact scan of all points",
            "retries": 0,
            "restarts": self._restarts,
            "errors": self._errors,
        }

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._child is not None:
                self._child.close(APPLY_SECONDS)
                self._child = None

    @contextmanager
    def _exclusive(self, seconds: float) -> Iterator[None]:
        if not self._lock.acquire(timeout=seconds):
            raise TierDown("The Edge engine is busy.")
        try:
            if self._closed:
                raise TierDown("The Edge engine is closed.")
            yield
        finally:
            self._lock.release()

    def _ask(self, message: tuple[Any, ...], deadline: float, *, retry: bool = True) -> Any:
        if self._child is None:
            raise TierDown("The Edge engine is not running.")
        try:
            return self._child.request(message, deadline)
        except ChildGone as problem:
            self._replace(str(problem))
            if retry:
                return self._ask(message, deadline, retry=False)
            raise TierDown("The Edge engine was restarted.") from None
        except EngineError as problem:
            self._errors += 1
            logger.warning("the Edge engine refused %s: %s", message[0], problem)
            raise TierDown("The Edge engine refused a request.") from None

    def _replace(self, reason: str) -> None:
        self._child = None
        self._errors += 1
        now = time.monotonic()
        if len(self._recent_restarts) == MAX_RESTARTS and now - self._recent_restarts[0] < RESTART_WINDOW:
            raise TierDown("The Edge engine keeps ending.")
        self._recent_restarts.append(now)
        self._restarts += 1
        logger.warning("replacing the Edge engine: %s", reason)
        self._start()

    def _start(self) -> None:
        """Start a child and wait until it has loaded; an unreadable directory is set aside and begun anew."""
        self._child = None
        child, seq = self._load(set_aside=True)
        self._child, self._seq = child, seq
        self._generation += 1
        logger.info("the Edge engine is ready at seq %d", seq)

    def _load(self, *, set_aside: bool) -> tuple[EdgeProcess, int]:
        deadline = time.monotonic() + START_SECONDS
        while True:
            child = EdgeProcess(self._directory, self._dimension)
            try:
                status, answer = child.receive(max(0.1, deadline - time.monotonic()))
            except ChildGone as problem:
                status, answer = "unreadable", str(problem)
            if status == "ready":
                return child, int(answer)
            child.kill()
            if status == "locked" and time.monotonic() < deadline:
                time.sleep(LOCK_WAIT_SECONDS)
                continue
            logger.error("the Edge engine cannot load its directory: %s", answer)
            if status == "locked" or not set_aside:
                raise TierDown("The Edge engine cannot open its directory.")
            self._put_aside()
            return self._load(set_aside=False)

    def _put_aside(self) -> None:
        """Keep the newest unreadable directory for inspection; the ledger can rebuild what it held."""
        target = self._directory.with_name(f"{self._directory.name}.unreadable")
        shutil.rmtree(target, ignore_errors=True)
        if self._directory.exists():
            self._directory.rename(target)
        self._set_aside = True
        logger.warning("the unreadable Edge directory was set aside as %s", target.name)
