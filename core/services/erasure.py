"""Erasing people, and the receipt that says what is left of them where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.backup.erasure_list import ErasureLists
from core.domain.errors import NotFound, Unavailable
from core.domain.people import OnDisk, Receipt
from core.ledger.journal import Journal
from core.ledger.ledger import Ledger
from core.store.hybrid import HybridVectorStore
from core.telemetry import tracing


class Erasures:
    def __init__(
        self,
        ledger: Ledger,
        store: HybridVectorStore,
        journal: Journal,
        lists: ErasureLists,
        dimension: int,
    ) -> None:
        """`dimension` is that of the pack's embeddings."""
        self._ledger = ledger
        self._store = store
        self._journal = journal
        self._lists = lists
        self._dimension = dimension

    @tracing.traced
    def erase(self, user_id: str) -> Receipt:
        """Erase a person everywhere. From the return on, no search in any process proposes them."""
        self._journal.flush()
        erasure = self._ledger.people.erase(user_id)
        self._lists.follow()
        self._store.sync(erasure.seq)
        self._store.recent.forget(user_id)
        return self._receipt(erasure.user_id, erasure.name, erasure.template_ids, erasure.event)

    def receipt(self, event_id: int) -> Receipt:
        """The receipt of an erasure as things stand now, without the name, which is erased.

        Raises:
            NotFound: unknown_receipt.
        """
        event = self._ledger.events.erasure(event_id)
        if event is None or event.user_id is None:
            raise NotFound("unknown_receipt", "There is no such receipt.", "Look for the erasure in Events.")
        ids = [int(number) for number in event.detail.get("template_ids", ())]
        return self._receipt(event.user_id, None, ids, event.id)

    def _receipt(self, user_id: str, name: str | None, template_ids: Sequence[int], event: int) -> Receipt:
        left = self._left(template_ids)
        disk = self._on_disk(len(template_ids), left)
        return Receipt(user_id, name, len(template_ids), left, disk, event)

    def _left(self, template_ids: Sequence[int]) -> dict[str, int | None]:
        """How many of these templates each tier still holds."""
        return {"ledger": self._still_in_ledger(template_ids), **self._store.upkeep.left(template_ids)}

    def _on_disk(self, erased: int, left: Mapping[str, int | None]) -> dict[str, OnDisk]:
        """What the files may still hold of that many templates, of which the tiers hold `left`."""
        size = erased * self._dimension * np.dtype(np.float32).itemsize
        ledger = OnDisk(0 if self._ledger.database.scrubbed else size)
        if left["qdrant"] != 0:
            return {"ledger": ledger, "qdrant": OnDisk(None if left["qdrant"] is None else size)}
        traces = self._store.upkeep.traces()
        if traces is None:
            return {"ledger": ledger, "qdrant": OnDisk(None)}
        return {"ledger": ledger, "qdrant": OnDisk(size if traces.there else 0, traces.gone_by)}

    def _still_in_ledger(self, template_ids: Sequence[int]) -> int | None:
        """None when it cannot be asked: the erasure is committed, and must not look as if it had failed."""
        try:
            return len(self._ledger.feed.resolve(template_ids))
        except Unavailable:
            return None
