"""Numbers by id: ids of the ledger begin at 1 and are given in order, so a plain array holds them best."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
N = TypeVar("N", bound=np.number[Any])


class IdArray(Generic[N]):
    """0 where nothing was put. Read from any thread, also during the one writer's `put`."""

    def __init__(self, dtype: type[N]) -> None:
        self._values: NDArray[N] = np.zeros(1024, dtype)  # untouched zeros cost no memory

    @property
    def memory_bytes(self) -> int:
        return self._values.nbytes

    def get(self, ids: Ids) -> NDArray[N]:
        values = self._values
        known = (ids >= 0) & (ids < len(values))
        return np.where(known, values[np.where(known, ids, 0)], 0)

    def has(self, number: int) -> bool:
        """Whether anything but 0 was put there."""
        values = self._values
        return bool(0 <= number < len(values) and values[number])

    def put(self, ids: Ids, values: NDArray[N]) -> None:
        self.reach(ids)
        self._values[ids] = values

    def increase(self, ids: Ids, by: int) -> None:
        """Add `by` for every occurrence of an id."""
        self.reach(ids)
        np.add.at(self._values, ids, by)

    def reach(self, ids: Ids) -> None:
        """Make room for these ids, so that putting something there cannot fail. Raises MemoryError."""
        most = int(ids.max(initial=0))
        if most >= len(self._values):
            longer = np.zeros(2 * most, self._values.dtype)
            longer[: len(self._values)] = self._values
            self._values = longer
