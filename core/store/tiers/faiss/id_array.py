"""Numbers by id: ids of the ledger begin at 1 and are given in order, so a plain array holds them best."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class IdArray:
    """0 where nothing was put. Read from any thread, also during the one writer's `put`."""

    def __init__(self, dtype: type[np.number[Any]]) -> None:
        self._values: NDArray[Any] = np.zeros(1024, dtype)  # untouched zeros cost no memory

    @property
    def memory_bytes(self) -> int:
        return self._values.nbytes

    def get(self, ids: Ids) -> NDArray[Any]:
        values = self._values
        known = (ids >= 0) & (ids < len(values))
        return np.where(known, values[np.where(known, ids, 0)], 0)

    def one(self, number: int) -> Any:
        values = self._values
        return values[number] if 0 <= number < len(values) else 0

    def put(self, ids: Ids, values: NDArray[Any]) -> None:
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
