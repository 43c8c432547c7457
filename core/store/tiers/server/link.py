"""Calls to a Qdrant server of one node or several: which one is asked, for how long, and which one after it.

Reads and writes fail on their own. A read is asked of the next node when the first one is later than usual,
and the first answer counts. A write waits for every replica, and so for any node that hangs: when it fails,
reads go on.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from qdrant_client import QdrantClient
from qdrant_client.common.version_check import parse_version

from core.domain.errors import StartError
from core.domain.json_values import JsonObject, json_object
from core.store.contract import TierDown
from core.store.tiers.server.address import Address
from core.store.tiers.server.circuit import Circuit
from core.store.tiers.server.errors import NO_ANSWER, RETRIED, CallFailed, Hopeless, failed
from core.store.tiers.server.node import ATTEMPTS, PROBE_SECONDS, CallTally, Node

T = TypeVar("T")

THREADS = 32  # reads under way at once where there are several nodes; more wait for their turn
LONG_READ_SECONDS = 1.0  # after which one that may take long is asked of the next node


class Link:
    """Thread-safe. Every call must be idempotent, since it may be made again, and on several nodes at once:
    reads, upserts under fixed ids, deletes by id, and creating what is then looked at anew.

    A read costs at most one deadline and a half: what fails late is not tried again. A node that does not
    answer is left alone until its watch has found it, and when all are, calls fail at once.
    """

    def __init__(
        self, addresses: Sequence[Address], *, pace: float = PROBE_SECONDS, write_timeout: int | None = None
    ) -> None:
        """`pace`: seconds between two probes of a node that is away, and until writes are tried again.

        `write_timeout`: seconds that a write may take, if not as long as a read.
        """
        self.tally = CallTally()
        self.nodes = tuple(
            Node(address, self.tally, pace, write_timeout or address.timeout) for address in addresses
        )
        self.writes = Circuit(wait=pace)
        self._write_failure = "unavailable"
        self._timeout = max(address.timeout for address in addresses)
        self._closed = False
        self._pool: ThreadPoolExecutor | None = None
        if len(self.nodes) > 1:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="qdrant-read")
        self.version: str | None = None  # of the server, when it last said

    def open(self) -> None:
        """Make the clients, unless there are some. Raises TierDown after `close`."""
        for node in self.nodes:
            node.open()

    def close(self) -> None:
        self._closed = True
        for node in self.nodes:
            node.close()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def hello(self) -> str | None:
        """`GET /`: whether the server is there, and fit for this client. Returns what to know of its version.

        qdrant-client's own rule: the same major version, and minor versions at most one apart. An older
        server is refused; a newer one is spoken to, since Qdrant stays compatible with older clients.

        Raises:
            CallFailed: it does not answer, or (Hopeless) is too old.
        """
        answer = self.read(lambda client: client.http.service_api.root())
        self.version = str(answer.version)
        try:
            server = parse_version(self.version)
        except ValueError:
            return f"the server's version {self.version} cannot be compared"
        ours = parse_version(importlib.metadata.version("qdrant-client"))
        if server.major != ours.major or server.minor < ours.minor - 1:
            raise Hopeless("incompatible", _incompatible(self.version, f"{ours.major}.{ours.minor - 1}"))
        if server.minor > ours.minor + 1:
            return f"the server's version {self.version} is newer than this client was tested with"
        return None

    def check(self) -> None:
        """Whether the nodes that are not asked, while others are, are there."""
        for node in self.nodes[1:]:
            node.check()

    def read(self, operation: Callable[[QdrantClient], T], *, long: bool = False) -> T:
        """`long`: it takes its time with many templates, and is not held to the usual one.

        Raises:
            CallFailed: no node has answered, or it was refused.
            TierDown: there is no connection.
        """
        if self._closed:
            raise TierDown("The connection to Qdrant is closed.")
        nodes = self._in_order()
        if self._pool is None or len(nodes) == 1:
            return nodes[0].call(operation, attempts=ATTEMPTS, blamed=len(self.nodes) == 1)
        return self._race(self._pool, nodes, operation, long)

    def write(self, operation: Callable[[QdrantClient], T]) -> T:
        """As `read`, but that one node at a time is asked, and another only where that costs no time."""
        if not self.writes.admit():
            raise failed(self._write_failure)
        try:
            answer = self._in_turn(operation)
        except CallFailed as problem:
            if problem.kind in NO_ANSWER:
                self._write_failure = problem.kind
                self.writes.failed(hung=problem.kind == "deadline")
            else:
                self.writes.succeeded()
            raise
        except BaseException:
            self.writes.failed()  # admitted calls must be accounted for, whatever came of them
            raise
        self.writes.succeeded()
        return answer

    def explained(self, problem: CallFailed) -> CallFailed:
        """The problem, or what is behind it when it is that nobody can be reached; looking may take 2 s."""
        if problem.kind != "unavailable":
            return problem
        return failed(self.nodes[0].verdict(2 * PROBE_SECONDS))

    def info(self) -> JsonObject:
        """version, retries, restarts, errors, errors_by_kind, circuit (of reads), write_circuit."""
        return {
            "version": self.version,
            "retries": self.tally.retries,
            "restarts": 0,
            "errors": self.tally.errors.total(),
            "errors_by_kind": json_object(self.tally.errors),
            "circuit": self._reads(),
            "write_circuit": self.writes.info(),
        }

    def _reads(self) -> JsonObject:
        """As `Circuit.info`: reads fail when no node is left to ask."""
        best = max(self.nodes, key=lambda node: (node.answers, node.since))
        since = best.since.isoformat(timespec="seconds")
        return {
            "state": "closed" if best.answers else "open",
            "since": since,
            "failures": best.failures,
        }

    def _in_order(self) -> list[Node]:
        """Those to be asked as the settings order them, those in doubt last. Raises CallFailed for none."""
        nodes = sorted((node for node in self.nodes if node.answers), key=lambda node: node.doubted)
        if not nodes:
            raise failed(self.nodes[0].reason)
        return nodes

    def _in_turn(self, operation: Callable[[QdrantClient], T]) -> T:
        *first, last = self._in_order()
        for node in first:
            try:
                return node.call(operation, writing=True)
            except CallFailed as problem:
                if problem.kind not in RETRIED:
                    raise
        return last.call(operation, attempts=ATTEMPTS, writing=True)

    def _race(
        self,
        pool: ThreadPoolExecutor,
        nodes: list[Node],
        operation: Callable[[QdrantClient], T],
        long: bool,
    ) -> T:
        started = time.monotonic()
        running: dict[Future[T], tuple[Node, float]] = {}
        problem: CallFailed | None = None
        while (left := started + self._timeout - time.monotonic()) > 0 and (nodes or running):
            if nodes:
                node = nodes.pop(0)
                running[pool.submit(node.call, operation)] = node, time.monotonic()
                left = min(left, LONG_READ_SECONDS if long else node.patience)
            done, late = wait(running, left, FIRST_COMPLETED)
            for future in done:
                node, since = running.pop(future)
                try:
                    answer = future.result()
                except Hopeless:
                    raise
                except CallFailed as failure:
                    problem = failure
                    continue
                if not long:
                    node.took(time.monotonic() - since)
                return answer
            if not done:
                for future in late:
                    running[future][0].doubt()
        raise problem if problem is not None and not running else failed("deadline")


def _incompatible(version: str, oldest: str) -> StartError:
    return StartError(
        "qdrant_incompatible",
        f"The Qdrant server has version {version}. Robi needs {oldest} or later of the same major version.",
        "Upgrade the server; Qdrant asks for one minor version at a time.",
    )
