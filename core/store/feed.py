"""The ledger as the vector tiers see it: a strictly increasing feed of changes, and the join."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.domain.people import GalleryCounts
from core.domain.templates import Change, HotSet, StoredTemplate

BATCH = 500  # changes that are applied in one step: it blocks a tier's searches for some 20 ms


class ChangeFeed(Protocol):
    """Every call sees only committed state. Template ids are never reused and vectors never change."""

    @property
    def gallery_id(self) -> str:
        """Whose feed this is: a UUID that no other gallery has."""
        ...

    def head(self) -> int:
        """The greatest committed seq, 0 when there is none."""
        ...

    def changes(self, after: int, limit: int) -> Sequence[Change]:
        """At most `limit` changes with a seq above `after`, ascending.

        A put whose template has been erased since comes without its vector.
        """
        ...

    def resolve(self, template_ids: Collection[int]) -> Mapping[int, StoredTemplate]:
        """The templates that exist now; ids that do not are absent."""
        ...

    def hot_set(
        self, limit: int, *, spare: int = 0, progress: Callable[[float], None] = lambda _share: None
    ) -> HotSet:
        """At most `limit` templates of whole people, most recently matched or enrolled first, as of one seq.

        `spare` more rows are left free at the end of the arrays; `progress` is told the share that is read.

        Raises:
            MemoryError: the arrays are too large.
        """
        ...

    def templates_of(self, persons: Collection[int]) -> Sequence[StoredTemplate]:
        """All templates of these people as of now."""
        ...

    def template_ids(self) -> tuple[int, NDArray[np.int64]]:
        """The head and all living template ids, in any order, as of one moment; fast for a million."""
        ...

    def counts(self) -> GalleryCounts: ...
