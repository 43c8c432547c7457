"""One node of a Qdrant server: its client, and whether it is to be asked.

A node that fails is watched by a thread of its own, which asks it for a sign of life each second until there
is one. Nobody else waits for it meanwhile.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from qdrant_client import QdrantClient, grpc

from core.domain.system import ServerNode
from core.store.contract import TierDown
from core.store.tiers.server.address import POOL, Address
from core.store.tiers.server.errors import FAILURES, NO_ANSWER, RETRIED, CallFailed, failed, kind_of

logger = logging.getLogger("robi.store.qdrant")

T = TypeVar("T")

ATTEMPTS = 3
RETRY_SECONDS = 0.05  # before the first retry, doubled before the second, each with jitter
PROBE_SECONDS = 1.0  # between two signs of life that are asked for, and the longest wait for one
SHORTEST_PATIENCE, LONGEST_PATIENCE = 0.05, 0.2  # with a node whose usual time is known or not, in seconds
MEASURED = 20  # answers from which on the usual time counts as known


class CallTally:
    """What failed on the way to the server, whichever node it was."""

    def __init__(self) -> None:
        self.retries = 0
        self.errors: Counter[str] = Counter()


class Node:
    """Thread-safe.

    `answers`: it is asked. `doubted`: it is, but after the others; it was slower than it usually is.
    """

    def __init__(self, address: Address, tally: CallTally, pace: float, write_timeout: int) -> None:
        """`pace` is the time between two probes, in seconds; `write_timeout` is how long a write may take."""
        self.address = address
        self._tally = tally
        self._pace = pace
        self._write_timeout = write_timeout
        self._lock = threading.Lock()
        self._client: QdrantClient | None = None
        self._writer: QdrantClient | None = None  # another one only for another deadline: a client has one
        self._closing = threading.Event()
        self._judged = threading.Event()  # the first probe since it came under watch has ended
        self._watched = False
        self._jitter = random.Random()  # noqa: S311  spreads retries, decides nothing
        self._seconds: deque[float] = deque(maxlen=200)
        self.answers = True
        self.reason = "unavailable"  # the kind of failure that was seen last
        self.failures = 0  # in a row
        self.since = datetime.now(UTC)  # of the present `answers`

    @property
    def doubted(self) -> bool:
        return self._watched

    def open(self) -> None:
        """Make the clients, unless there are some. Raises TierDown after `close`."""
        with self._lock:
            if self._closing.is_set():
                raise TierDown("The connection to Qdrant is closed.")
            if self._client is None:
                self._client = self._writer = self.address.connect()
                if self._write_timeout != self.address.timeout:
                    self._writer = replace(self.address, timeout=self._write_timeout).connect()

    def close(self) -> None:
        self._closing.set()
        with self._lock:
            clients = {self._client, self._writer} - {None}
            self._client = self._writer = None
        for client in clients:
            if client is not None:
                client.close()

    def call(
        self,
        operation: Callable[[QdrantClient], T],
        *,
        attempts: int = 1,
        writing: bool = False,
        blamed: bool = False,
    ) -> T:
        """`blamed`: when it is waited for in vain this node hangs, and no other one behind it.

        Raises:
            CallFailed: the node did not answer, or refused.
            TierDown: there is no connection.
        """
        client = self._writer if writing else self._client
        if client is None:
            raise TierDown("Qdrant is not connected.")
        try:
            answer = self._attempt(client, operation, attempts)
        except CallFailed as problem:
            if problem.kind in NO_ANSWER:
                self._failed(problem.kind, lost=problem.kind == "deadline" and blamed)
            raise
        except BaseException:
            if self._closing.is_set():  # a closed channel raises ValueError
                raise TierDown("The connection to Qdrant is closed.") from None
            raise
        self.failures = 0
        return answer

    def doubt(self) -> None:
        """Ask the others first, until it has given a sign of life."""
        with self._lock:
            self._come_under_watch()

    def verdict(self, seconds: float) -> str:
        """The kind of failure, once it has been looked into, for which this waits at most so long."""
        if self._watched:
            self._judged.wait(seconds)
        return self.reason

    def took(self, seconds: float) -> None:
        """Note the time of an answer that others of its kind can be held to."""
        self._seconds.append(seconds)

    @property
    def patience(self) -> float:
        """Seconds after which an answer is later than nearly all before it."""
        recent = sorted(self._seconds.copy())
        if len(recent) < MEASURED:
            return LONGEST_PATIENCE
        return min(LONGEST_PATIENCE, max(SHORTEST_PATIENCE, 2 * recent[int(0.99 * (len(recent) - 1))]))

    def check(self) -> None:
        """Ask for a sign of life, of a node that searches do not ask otherwise."""
        if self._watched or (kind := self._probe()) is None:
            return
        self._failed(kind, lost=True)

    def state(self) -> ServerNode:
        return ServerNode(self.address.url, self.answers, self.since, self.failures)

    def _attempt(self, client: QdrantClient, operation: Callable[[QdrantClient], T], attempts: int) -> T:
        started = time.monotonic()
        for attempt in range(attempts):
            try:
                return operation(client)
            except FAILURES as problem:
                kind = kind_of(problem)
                self._tally.errors[kind] += 1
                late = time.monotonic() - started > self.address.timeout / 2
                if kind not in RETRIED or late or attempt == attempts - 1:
                    logger.warning("Qdrant: %s (%s)", kind, type(problem).__name__)  # never their texts
                    raise failed(kind) from None
                self._tally.retries += 1
                time.sleep(RETRY_SECONDS * 2**attempt * self._jitter.uniform(0.5, 1.5))
        raise AssertionError("unreachable")

    def _failed(self, kind: str, *, lost: bool) -> None:
        with self._lock:
            self.failures += 1
            if self.answers:  # what a watch has found out meanwhile says more
                self.reason = kind
            if lost:
                self._turn(answers=False)
            self._come_under_watch()

    def _come_under_watch(self) -> None:
        if not self._watched and not self._closing.is_set():
            self._watched = True
            self._judged.clear()
            name = f"qdrant-watch-{self.address.url}"
            threading.Thread(target=self._watch, name=name, daemon=True).start()

    def _watch(self) -> None:
        """Until there is a sign of life. Where there is one at once, let it be for a moment all the same."""
        asked = time.monotonic()
        kind = self._probe()
        if kind is None:
            self._judged.set()
            self._closing.wait(self._pace)
        while kind is not None and not self._closing.is_set():
            with self._lock:
                self.failures += 1
                self.reason = kind
                self._turn(answers=False)
            self._judged.set()
            self._closing.wait(max(0.0, asked + self._pace - time.monotonic()))
            asked = time.monotonic()
            kind = self._probe()
        with self._lock:
            self._watched = False
            if kind is None:
                self._turn(answers=True)

    def _probe(self) -> str | None:
        """Why there is no sign of life; None when there is one.

        Over each connection, and it waits until that is made: one that was just refused is not tried again
        at once, and would say for a while that nobody is there.
        """
        client = self._client
        if client is None:
            return self.reason
        request = grpc.CollectionExistsRequest(collection_name="robi")
        try:
            for _ in range(POOL):
                stub = client.grpc_collections
                stub.CollectionExists(request, timeout=PROBE_SECONDS, wait_for_ready=True)
        except FAILURES as problem:
            kind = kind_of(problem)
            if kind in ("unavailable", "deadline"):
                return self.address.why_unreachable()
            return kind if kind in NO_ANSWER else None
        except Exception:  # noqa: BLE001  a channel closed meanwhile; nothing else may end a watch either
            return self.reason
        return None

    def _turn(self, *, answers: bool) -> None:
        if answers != self.answers:
            self.answers = answers
            self.since = datetime.now(UTC)
            if answers:
                logger.info("Qdrant at %s answers again", self.address.url)
            else:
                logger.warning("Qdrant at %s does not answer (%s)", self.address.url, self.reason)
