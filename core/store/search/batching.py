"""Requests submitted from any thread, answered together: what queues up while one batch runs is the next one.

There is no timer: waiting for more to arrive halves the speed of a single client.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from core.domain.errors import Busy, RobiError, Unavailable
from core.domain.faces import Embeddings

logger = logging.getLogger("robi.store.batching")

MAX_ROWS = 64  # close a batch; beyond it batching gains little and the first caller waits longer
MAX_QUEUED = 1024  # rows; more is refused, so that waiting time stays bounded

P = TypeVar("P", bound=Hashable)
A = TypeVar("A")


@dataclass(frozen=True, slots=True, eq=False)
class ProbeBatch(Generic[P]):
    """Probes to be treated alike, from one or more requests."""

    probes: Embeddings  # (n, dimension)
    plan: P
    since: Sequence[float]  # when each probe was submitted, by `time.perf_counter`


@dataclass(slots=True, eq=False)
class _Request(Generic[P, A]):
    probes: Embeddings
    plan: P
    since: float = field(default_factory=time.perf_counter)
    future: Future[list[A]] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a batcher is, and has been since the start."""

    queued: int
    batches: int
    rows: int


class Batcher(Generic[P, A]):
    """A bounded queue and a few threads. `run` gives one answer per probe of a batch.

    At most `workers` batches run at a time, in the workers' threads or in callers'.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[ProbeBatch[P]], Sequence[A]],
        *,
        workers: int = 1,
        max_rows: int = MAX_ROWS,
        max_queued: int = MAX_QUEUED,
    ) -> None:
        self._name = name
        self._run = run
        self._max_rows = max_rows
        self._max_queued = max_queued
        self._queue: queue.SimpleQueue[_Request[P, A] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._running = threading.BoundedSemaphore(workers)
        self._queued = 0
        self._batches = 0
        self._rows = 0
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, probes: Embeddings, plan: P) -> Future[list[A]]:
        """Queue probes, shape (n, dimension); the future gives their answers in order.

        Raises:
            Busy: as much as can be answered in time is queued already.
            Unavailable: the batcher is closed.
        """
        request: _Request[P, A] = _Request(probes, plan)
        with self._lock:
            self._admit(len(probes))
            self._queued += len(probes)
            self._queue.put(request)
        return request.future

    def answer(self, probes: Embeddings, plan: P) -> Sequence[A]:
        """As `submit`, and wait. The caller's own thread does the work when nobody waits and a worker would
        be free, which spares two thread switches."""
        with self._lock:
            self._admit(len(probes))
            here = not self._queued and self._running.acquire(blocking=False)
            if here:
                self._batches += 1
                self._rows += len(probes)
        if not here:
            return self.submit(probes, plan).result()
        try:
            return self._run_safely(ProbeBatch(probes, plan, [time.perf_counter()] * len(probes)))
        finally:
            self._running.release()

    def load(self) -> Load:
        return Load(self._queued, self._batches, self._rows)

    def close(self) -> None:
        """Answer what is queued, then end; may be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                for _ in self._threads:
                    self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            with self._running:  # what arrives while all are busy joins this batch
                batch, ended = self._drain(first)
                self._answer(batch)
            if ended:
                return

    def _drain(self, first: _Request[P, A]) -> tuple[list[_Request[P, A]], bool]:
        """The batch that begins with `first`, and whether to end after it."""
        batch, rows = [first], len(first.probes)
        while rows < self._max_rows:
            try:
                request = self._queue.get_nowait()
            except queue.Empty:
                break
            if request is None:
                return batch, True
            batch.append(request)
            rows += len(request.probes)
        return batch, False

    def _answer(self, requests: list[_Request[P, A]]) -> None:
        rows = sum(len(request.probes) for request in requests)
        with self._lock:
            self._queued -= rows
            self._batches += 1
            self._rows += rows
        alike: dict[P, list[_Request[P, A]]] = {}
        for request in requests:
            if request.future.set_running_or_notify_cancel():
                alike.setdefault(request.plan, []).append(request)
        for plan, group in alike.items():
            self._answer_alike(plan, group)

    def _answer_alike(self, plan: P, group: list[_Request[P, A]]) -> None:
        probes = group[0].probes if len(group) == 1 else np.concatenate([r.probes for r in group])
        since = [request.since for request in group for _ in range(len(request.probes))]
        try:
            answers = self._run_safely(ProbeBatch(probes, plan, since))
        except RobiError as problem:
            for request in group:
                request.future.set_exception(problem)
            return
        start = 0
        for request in group:
            end = start + len(request.probes)
            request.future.set_result(list(answers[start:end]))
            start = end

    def _run_safely(self, batch: ProbeBatch[P]) -> Sequence[A]:
        try:
            return self._run(batch)
        except RobiError:
            raise
        except Exception:  # a worker that dies would leave every later caller waiting
            logger.exception("the %s failed", self._name)
            raise Unavailable("search_unavailable", f"The {self._name} failed.") from None

    def _admit(self, rows: int) -> None:
        if self._closed:
            raise Unavailable("search_unavailable", "The search is shutting down.")
        if self._queued + rows > self._max_queued:
            raise Busy("busy", "Too many searches at once.", "Try again in a moment.")


def searchers() -> int:
    """How many batches of whole searches run at a time."""
    return max(2, min(8, os.cpu_count() or 2))
