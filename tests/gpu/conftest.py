from __future__ import annotations

import pytest

from core.store.tiers.faiss.candidate_index import GpuUnavailable
from core.store.tiers.faiss.gpu.index import open_card


@pytest.fixture(scope="session", autouse=True)
def card() -> str:
    """The card's name; everything in this folder is skipped where there is none."""
    try:
        process = open_card(0, 8)
    except GpuUnavailable as problem:
        pytest.skip(str(problem))
    process.close()
    return process.card.name
