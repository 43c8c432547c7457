"""The hot tier's rows in memory.

Rows are only ever appended; the vector of a dropped one is wiped and masked. That is what lets searches go
on, without a lock, while the one writer works.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from core.domain.faces import Embedding, Embeddings
from core.store.tiers.faiss.candidate_index import NOWHERE, Bitmap, Places
from core.store.tiers.faiss.id_array import IdArray, Ids

SPARE_ROOM = 8192  # places
COPIED_AT_ONCE = 65_536  # rows


class VectorTable:
    """Template ids, persons and vectors by place. One writer at a time; readers look at places below `used`.

    The arrays are taken over, not copied. What lies beyond `used` is room, and costs no memory until then.
    """

    def __init__(self, ids: Ids, persons: Ids, vectors: Embeddings, used: int) -> None:
        self.ids = ids
        self.persons = persons
        self.vectors = vectors
        self.used = used
        self.count = used  # of them alive
        self.alive: Bitmap = np.full(-(-len(ids) // 8), 0xFF, np.uint8)
        self._place = IdArray(np.int64)  # plus one, by template id
        self._place.put(ids[:used], np.arange(1, used + 1))
        self._templates = IdArray(np.int32)  # held, by person
        self._templates.increase(persons[:used], 1)

    @classmethod
    def with_room(cls, room: int, dimension: int) -> VectorTable:
        """Raises MemoryError."""
        ids, persons = np.empty(room, np.int64), np.empty(room, np.int64)
        return cls(ids, persons, np.empty((room, dimension), np.float32), 0)

    @property
    def dead(self) -> int:
        return self.used - self.count

    @property
    def room(self) -> int:
        """Places in all."""
        return len(self.ids)

    @property
    def free(self) -> int:
        return self.room - self.used

    @property
    def memory_bytes(self) -> int:
        each = self.ids.itemsize + self.persons.itemsize + self.vectors.itemsize * self.vectors.shape[1]
        tables = self.alive.nbytes + self._place.memory_bytes + self._templates.memory_bytes
        return int(self.used * each + tables)

    def reaching(self, ids: Ids, persons: Ids) -> VectorTable:
        """These rows, or a longer copy with everything in its place, of which `add` of such rows cannot fail.

        Raises MemoryError.
        """
        rows = self
        if len(ids) > self.free:
            everything = np.arange(self.used)
            rows = self.copied(everything, roomy(self.used + len(ids)))
            rows.drop(np.flatnonzero(~self.are_alive(everything)))
        rows._place.reach(ids)
        rows._templates.reach(persons)
        return rows

    def copied(self, places: Places, room: int) -> VectorTable:
        """Copies of these rows, with `room` places in all. Raises MemoryError."""
        fresh = VectorTable.with_room(room, self.vectors.shape[1])
        for start in range(0, len(places), COPIED_AT_ONCE):
            part = places[start : start + COPIED_AT_ONCE]
            fresh.add(self.ids[part], self.persons[part], self.vectors[part])
        return fresh

    def add(self, ids: Ids, persons: Ids, vectors: Embeddings) -> None:
        """Append templates that are not held yet; the caller has seen to it that there is room."""
        start, end = self.used, self.used + len(ids)
        self.ids[start:end] = ids
        self.persons[start:end] = persons
        self.vectors[start:end] = vectors
        self._place.put(ids, np.arange(start + 1, end + 1))
        self._templates.increase(persons, 1)
        self.used = end
        self.count += len(ids)

    def drop(self, places: Places) -> None:
        """Wipe and mask rows that are alive; their ids stay, for whoever is about to name them."""
        ids = self.ids[places]
        here = self._place.get(ids) == places + 1  # a template that came back is elsewhere by now
        self._place.put(ids[here], np.zeros(np.count_nonzero(here), np.int64))
        np.bitwise_and.at(self.alive, places >> 3, ~np.left_shift(1, places & 7).astype(np.uint8))
        self.vectors[places] = 0.0
        self._templates.increase(self.persons[places], -1)
        self.count -= len(places)

    def places(self, ids: Ids) -> Places:
        """Where these templates are, NOWHERE for those that are not held."""
        places: Places = self._place.get(ids) - 1
        return places

    def holds(self, template_id: int) -> bool:
        return self._place.has(template_id)

    def knows(self, persons: Ids) -> NDArray[np.bool_]:
        """For each person, whether a template of theirs is held."""
        known: NDArray[np.bool_] = self._templates.get(persons) > 0
        return known

    def persons_of(self, ids: Collection[int]) -> dict[int, int]:
        """Whose templates these are, of those that are held."""
        wanted = np.fromiter(ids, np.int64, len(ids))
        places = self.places(wanted)
        found = places != NOWHERE
        return dict(zip(wanted[found].tolist(), self.persons[places[found]].tolist(), strict=True))

    def living(self) -> Places:
        """The places of all rows that are held, ascending."""
        bits = np.unpackbits(self.alive, count=self.used, bitorder="little")
        return np.flatnonzero(bits)

    def are_alive(self, places: Places) -> NDArray[np.bool_]:
        """For each place; False for NOWHERE."""
        bits = np.left_shift(1, places & 7).astype(np.uint8)
        alive: NDArray[np.bool_] = ((self.alive[places >> 3] & bits) != 0) & (places != NOWHERE)
        return alive

    def held(self, ids: Collection[int]) -> dict[int, Embedding]:
        """Copies of the vectors of those templates that are held."""
        wanted = np.fromiter(ids, np.int64, len(ids))
        places = self.places(wanted)
        found = places != NOWHERE
        return dict(zip(wanted[found].tolist(), self.vectors[places[found]], strict=True))


def roomy(count: int) -> int:
    """Places for so many rows and half as many again."""
    return count + count // 2 + SPARE_ROOM
