"""Who stays in the hot tier when it is full: a score per person, the lowest leave first."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from core.config.settings import CachePolicy
from core.store.tiers.faiss.id_array import IdArray, Ids

HALF_LIFE_S = 3 * 86_400.0  # of a match in the decayed count; see tests/bench_cache.py
REMEMBERED_MATCHES = 10_000  # between two looks at who was recognised
BEGINNING = 64.0  # half-lives ago somebody unknown was seen last, as good as never


class EvictionPolicy(ABC):
    """Kept for people who have left, too: whoever comes back is not a stranger. One writer at a time."""

    def __init__(self) -> None:
        self._noted: deque[int] = deque(maxlen=REMEMBERED_MATCHES)

    def note(self, person: int) -> None:
        """They were just recognised; from any thread. Counts from the next `count_noted`."""
        self._noted.append(person)

    def count_noted(self) -> None:
        noted = [self._noted.popleft() for _ in range(len(self._noted))]
        if noted:
            self.touch(np.array(noted, np.int64))

    @abstractmethod
    def warm(self, people: Ids) -> None:
        """Begin, or begin again, with these distinct people, most recently active first."""

    @abstractmethod
    def touch(self, persons: Ids) -> None:
        """They were recognised or enrolled, in this order, each as often as named."""

    @abstractmethod
    def scores(self, people: Ids) -> NDArray[np.float64]:
        """The lowest leave first."""

    @property
    @abstractmethod
    def memory_bytes(self) -> int: ...


class Recency(EvictionPolicy):
    """LRU: the score is when somebody was seen last."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = IdArray(np.float64)
        self._now = 0

    @property
    def memory_bytes(self) -> int:
        return self._seen.memory_bytes

    def warm(self, people: Ids) -> None:
        self.touch(people[::-1])

    def touch(self, persons: Ids) -> None:
        self._seen.put(persons, np.arange(self._now + 1.0, self._now + len(persons) + 1.0))
        self._now += len(persons)

    def scores(self, people: Ids) -> NDArray[np.float64]:
        return self._seen.get(people)


class Frequency(EvictionPolicy):
    """LFU with decay: a match counts half as much with every half-life.

    Forward decay: a match at time t counts 2^t (t in half-lives) and nothing is ever scaled down. Scores
    are the logarithms of those sums, so they never overflow.
    """

    def __init__(self, half_life_s: float = HALF_LIFE_S, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._half_life_s = half_life_s
        self._clock = clock
        self._since = clock()
        self._sums = IdArray(np.float64)

    @property
    def memory_bytes(self) -> int:
        return self._sums.memory_bytes

    def warm(self, people: Ids) -> None:
        """As if each had been seen once within the last half-life; who is known to deserve more keeps it."""
        seen_once = self._now() - np.arange(len(people)) / max(1, len(people))
        self._sums.put(people, np.maximum(self._sums.get(people), seen_once))

    def touch(self, persons: Ids) -> None:
        people, times = np.unique(persons, return_counts=True)
        self._sums.put(people, np.logaddexp2(self._sums.get(people), self._now() + np.log2(times)))

    def scores(self, people: Ids) -> NDArray[np.float64]:
        return self._sums.get(people)

    def _now(self) -> float:
        return BEGINNING + (self._clock() - self._since) / self._half_life_s


def policy_for(policy: CachePolicy) -> EvictionPolicy:
    return Frequency() if policy == "lfu" else Recency()


def leaving(persons: Ids, policy: EvictionPolicy, surplus: int) -> NDArray[np.bool_]:
    """Which rows go, so that at least `surplus` of them do: whole people, the lowest scores first."""
    policy.count_noted()
    people, whose, templates = np.unique(persons, return_inverse=True, return_counts=True)
    order = np.argsort(policy.scores(people), kind="stable")
    enough = np.searchsorted(np.cumsum(templates[order]), surplus) + 1
    go = np.zeros(len(people), bool)
    go[order[:enough]] = True
    chosen: NDArray[np.bool_] = go[whose]
    return chosen
