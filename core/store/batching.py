"""One worker per tier: it drains whatever is queued into one batched search and never waits for more."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from core.errors import Busy, RobiError, Unavailable
from core.types import Embeddings, Hit

logger = logging.getLogger("robi.store.batching")

MAX_ROWS = 64  # per batch; beyond it batching gains little and the first caller waits longer
MAX_QUEUED = 1024  # rows; more is refused, so that waiting time stays bounded

Answer = list[list[Hit]]


@dataclass(slots=True, eq=False)
class _Request:
    probes: Embeddings
    limit: int
    future: Future[Answer] = field(default_factory=Future)


class Batcher:
    """Searches submitted from any thread, run by one thread. `run` gets (n, dimension) probes and a limit."""

    def __init__(
        self,
        name: str,
        run: Callable[[Embeddings, int], Answer],
        *,
        max_rows: int = MAX_ROWS,
        max_queued: int = MAX_QUEUED,
    ) -> None:
        self._name = name
        self._run = run
        self._max_rows = max_rows
        self._max_queued = max_queued
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._searching = threading.Lock()
        self._queued = 0
        self._closed = False
        self.batches = 0
        self.rows = 0
        self._thread = threading.Thread(target=self._work, name=f"{name}-search", daemon=True)
        self._thread.start()

    def submit(self, probes: Embeddings, limit: int, *, inline: bool = False) -> Future[Answer]:
        """Queue a search for each row of `probes`.

        With `inline` the caller's own thread does it when nobody is waiting or searching, which spares two
        thread switches; only for tiers that cannot hang.

        Raises:
            Busy: as much as can be answered in time is queued already.
            Unavailable: the batcher is closed.
        """
        request = _Request(probes, limit)
        with self._lock:
            if self._closed:
                raise Unavailable("search_unavailable", "The search is shutting down.")
            if self._queued + len(probes) > self._max_queued:
                raise Busy("busy", "Too many searches at once.", "Try again in a moment.")
            at_once = inline and not self._queued and self._searching.acquire(blocking=False)
            self._queued += len(probes)
            if not at_once:
                self._queue.put(request)
        if at_once:
            try:
                self._answer([request])
            finally:
                self._searching.release()
        return request.future

    def close(self) -> None:
        """Answer what is queued, then end; may be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        carried: _Request | None = None
        while True:
            first = carried or self._queue.get()
            if first is None:
                return
            with self._searching:  # what arrives while another thread searches joins this batch
                batch, carried, ended = self._drain(first)
                self._answer(batch)
            if ended:
                return

    def _drain(self, first: _Request) -> tuple[list[_Request], _Request | None, bool]:
        """The batch that begins with `first`, the request that did not fit, and whether to end after it."""
        batch, rows = [first], len(first.probes)
        while rows < self._max_rows:
            try:
                request = self._queue.get_nowait()
            except queue.Empty:
                break
            if request is None:
                return batch, None, True
            if rows + len(request.probes) > self._max_rows:
                return batch, request, False
            batch.append(request)
            rows += len(request.probes)
        return batch, None, False

    def _answer(self, batch: list[_Request]) -> None:
        probes = batch[0].probes if len(batch) == 1 else np.concatenate([r.probes for r in batch])
        with self._lock:
            self._queued -= len(probes)
        self.batches += 1
        self.rows += len(probes)
        try:
            answers = self._run(probes, max(request.limit for request in batch))
        except RobiError as problem:
            _fail(batch, problem)
            return
        except Exception:  # a worker that dies would leave every later caller waiting
            logger.exception("the %s search failed", self._name)
            _fail(batch, Unavailable("tier_unavailable", f"The {self._name} search failed."))
            return
        start = 0
        for request in batch:
            end = start + len(request.probes)
            request.future.set_result([hits[: request.limit] for hits in answers[start:end]])
            start = end


def _fail(batch: list[_Request], problem: RobiError) -> None:
    for request in batch:
        request.future.set_exception(problem)
