"""The Edge child process seen from the parent: one request with a deadline, and an orderly end."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from core.domain.search import Hit
from core.runtime.child_process import ChildGone, ChildProcess
from core.runtime.wire import told
from core.store.contract import TierBatch
from core.store.tiers.edge.wire import HITS, SEARCH, read_hits, search_body

logger = logging.getLogger("robi.store.edge")

CHILD = "core.store.tiers.edge.child"
START_SECONDS = 30.0  # for the interpreter and its imports, which take 0.3 s


class EngineError(Exception):
    """The engine refused a request; the child lives. The text is for the log only."""


class EdgeProcess(ChildProcess):
    """One child. Not thread-safe: its engine serialises requests."""

    def __init__(self, directory: Path, dimension: int, *, nice: int = 0) -> None:
        """Raises OSError."""
        super().__init__(CHILD, directory, dimension, nice, log=logger, called="edge engine")

    def start(self) -> None:
        """Wait until it has imported what it needs: from here on it is about the directory.

        Raises:
            ChildGone: it ended, or took longer than START_SECONDS.
        """
        self.take(START_SECONDS)

    def loaded(self, deadline: float) -> tuple[str, Any]:
        """How opening its directory went: "ready" and the seq; "locked", "unreadable" or "died" and why."""
        try:
            return self.take(deadline)
        except ChildGone as problem:
            return "died", str(problem)

    def request(self, *message: object, deadline: float) -> Any:
        """Send one request and return its answer.

        Raises:
            ChildGone: no answer within `deadline` seconds; the child is dead by then.
            EngineError: the engine refused.
        """
        self.post(*message, seconds=deadline)
        return self.result(deadline)

    def apply(self, batch: TierBatch, deadline: float) -> int:
        """Returns the seq that the engine stands at now. Raises as `request`."""
        vectors = batch.vectors.tobytes()
        return int(
            self.request(
                "apply", batch.ids, batch.persons, vectors, batch.drops, batch.seq, deadline=deadline
            )
        )

    def search(self, probes: bytes, limit: int, ef: int, deadline: float) -> list[list[Hit]]:
        """As `request`, for what has to be fast."""
        self.send(SEARCH, search_body(probes, limit, ef), deadline)
        kind, body = self.receive(deadline)
        if kind != HITS:
            raise EngineError(told(body)[1])
        return read_hits(body)

    def result(self, deadline: float) -> Any:
        """The answer to a request that was posted. Raises as `request`."""
        status, answer = self.take(deadline)
        if status != "ok":
            raise EngineError(answer)
        return answer

    def cpu_seconds(self) -> float:
        """What it has computed so far; 0 when it is gone."""
        try:
            times = psutil.Process(self.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def close(self, deadline: float) -> None:
        """Let the child flush and end; kill it when it does not."""
        with suppress(ChildGone, EngineError):
            self.request("close", deadline=deadline)
        self.end(deadline)
