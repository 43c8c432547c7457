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

from core import disk
from core.store.cold import Stale, TierDown, condense
from core.store.edge_process import ChildGone, EdgeProcess, EngineError
from core.types import Change, Embedding, Embeddings, Hit

logger = logging.getLogger("robi.store.edge")

START_SECONDS = 30.0  # loading a large shard; an empty one takes 0.3 s
SEARCH_SECONDS = 2.0  # for anything small, plus what a slow scan of the vectors takes:
SCAN_SECONDS = 1e-9  # per number compared
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
        self._points = 0  # when last counted
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
        deadline = self._search_seconds + SCAN_SECONDS * probes.size * self._points
        with self._exclusive(deadline):
            rows = self._ask(message, deadline)
        return [[Hit(template_id, score) for template_id, score in row] for row in rows]

    def count(self) -> int:
        with self._exclusive(self._search_seconds):
            self._points = int(self._ask(("count",), self._search_seconds))
            return self._points

    def ping(self) -> None:
        self.count()

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
        self._closed = True  # before the lock: whoever waits for a locked directory gives up
        with self._lock:
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
        self._child, self._seq = self._load()
        self._generation += 1
        logger.info("the Edge engine is ready at seq %d", self._seq)

    def _load(self) -> tuple[EdgeProcess, int]:
        deadline = time.monotonic() + START_SECONDS
        deaths = 0
        set_aside = False
        while not self._closed:
            child, status, answer = self._spawn(deadline)
            if status == "ready":
                if not set_aside:
                    shutil.rmtree(self._aside, ignore_errors=True)  # a start that went well needs it no more
                return child, int(answer)
            logger.warning("the Edge engine did not load its directory (%s): %s", status, answer)
            if status != "locked" and disk.is_full(self._directory.parent):
                raise TierDown("The disk is full: the Edge engine cannot start.")
            deaths += status == "died"
            if status == "locked" and time.monotonic() < deadline:
                time.sleep(LOCK_WAIT_SECONDS)
            elif status == "died" and deaths == 1:
                continue  # anything can kill a process once; twice over the same directory is the directory
            elif status in ("died", "unreadable") and not set_aside:
                set_aside = True
                self._put_aside()
            else:
                break
        raise TierDown("The Edge engine cannot open its directory.")

    def _spawn(self, deadline: float) -> tuple[EdgeProcess, str, Any]:
        """A new child and how its loading went; it is dead unless that is "ready"."""
        try:
            child = EdgeProcess(self._directory, self._dimension)
        except OSError as problem:
            logger.warning("the Edge engine cannot be started: %s", problem)
            raise TierDown("The Edge engine cannot be started.") from None
        try:
            child.receive(START_SECONDS)  # it has imported what it needs: from here on it is the directory
        except ChildGone:
            raise TierDown("The Edge engine cannot be started.") from None
        try:
            status, answer = child.receive(max(1.0, deadline - time.monotonic()))
        except ChildGone as problem:
            status, answer = "died", str(problem)
        if status != "ready":
            child.kill()
        return child, status, answer

    @property
    def _aside(self) -> Path:
        return self._directory.with_name(f"{self._directory.name}.unreadable")

    def _put_aside(self) -> None:
        """Keep an unreadable directory until the next good start; the ledger can rebuild what it held."""
        if not self._directory.exists():
            return
        shutil.rmtree(self._aside, ignore_errors=True)
        self._directory.rename(self._aside)
        self._set_aside = True
        logger.error("the unreadable Edge directory was set aside as %s", self._aside.name)
