from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from core.store.hybrid import HybridVectorStore
from tests.unit.store.kit import PACK, MemoryFeed, settings

OpenStore = Callable[..., HybridVectorStore]


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20)


@pytest.fixture
def feed() -> MemoryFeed:
    return MemoryFeed()


@pytest.fixture
def open_store(feed: MemoryFeed, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens stores on the test's feed and directory, with a real Edge child; closes whatever is left open."""
    opened: list[HybridVectorStore] = []

    def make(**values: object) -> HybridVectorStore:
        store = HybridVectorStore.open(settings(**values), feed, PACK, tmp_path)
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()
