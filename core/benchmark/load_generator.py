"""Clients that search at once, each for its next probe as soon as it has its answer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from core.domain.errors import RobiError
from core.domain.search import SearchResult

Search = Callable[[int], SearchResult]
"""Searches for the probe of that number. Raises RobiError."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    probe: int
    outcome: SearchResult | RobiError


@dataclass(frozen=True, slots=True, eq=False)
class LoadBlock:
    """Some searches, and the seconds from the beginning of the first to the end of the last."""

    answers: tuple[Answer, ...]
    seconds: float


class Crowd:
    """So many clients; a single one works in the caller's thread. Close it after use."""

    def __init__(self, clients: int) -> None:
        self._clients = clients
        self._pool = ThreadPoolExecutor(clients, "benchmark-client") if clients > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def work(self, search: Search, probes: Sequence[int]) -> LoadBlock:
        """Search for all of them; returns when the last is answered."""
        waiting = deque(probes)
        if self._pool is None:
            done = [_client(search, waiting)]
        else:
            done = [
                f.result()
                for f in [self._pool.submit(_client, search, waiting) for _ in range(self._clients)]
            ]
        began, ended = min(start for start, _, _ in done), max(end for _, end, _ in done)
        return LoadBlock(tuple(answer for _, _, answers in done for answer in answers), ended - began)


def _client(search: Search, waiting: deque[int]) -> tuple[float, float, list[Answer]]:
    """When it began and ended, and what it was answered."""
    began = time.perf_counter()
    answers: list[Answer] = []
    while True:
        try:
            probe = waiting.popleft()
        except IndexError:
            return began, time.perf_counter(), answers
        try:
            answers.append(Answer(probe, search(probe)))
        except RobiError as problem:
            answers.append(Answer(probe, problem))
