"""Many callers at once: they are batched, and refused rather than piled up."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from core.domain.errors import Busy
from core.domain.search import Strategy
from core.store.search import queue
from tests.unit.store.conftest import OpenStore
from tests.unit.store.kit import MemoryFeed, faces

CALLERS = 16


def test_sixteen_callers_share_batches(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator
) -> None:
    gallery = faces(random, 500, 4)
    for number, templates in enumerate(gallery):
        feed.enroll(f"p{number}", templates)
    store = open_store()
    wrong: list[str] = []
    start = threading.Barrier(CALLERS)

    def call(caller: int) -> None:
        start.wait()
        for n in range(40):
            person = (caller * 31 + n) % 500
            best = store.search(gallery[person, 0], strategy=Strategy.QDRANT_ONLY).best
            if best is None or best.user_id != f"p{person}":
                wrong.append(f"p{person}")

    threads = [threading.Thread(target=call, args=(n,)) for n in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    searches = store.loads()["search"]
    print(f"{searches.rows} searches in {searches.batches} batches")
    assert searches.rows == CALLERS * 40
    assert searches.batches < searches.rows / 2


def test_more_than_can_be_queued_is_refused(
    open_store: OpenStore, feed: MemoryFeed, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = faces(random, 10, 1)
    for number, templates in enumerate(gallery):
        feed.enroll(f"p{number}", templates)
    monkeypatch.setattr(queue, "MAX_QUEUED", 0)
    store = open_store()
    with pytest.raises(Busy) as refused:
        store.search(gallery[0, 0])
    assert refused.value.code == "busy"
