"""The index on a real card: the promises of `tests/unit/store/test_gpu.py`, and what only a card can show."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from core.store.tiers.faiss.candidate_index import GpuUnavailable
from core.store.tiers.faiss.gpu import index as gpu
from core.store.tiers.faiss.gpu.driver import CardFull, Driver
from core.store.tiers.faiss.gpu.index import flat
from core.store.tiers.faiss.gpu.process import GpuProcess
from tests.unit.store.conftest import random  # noqa: F401  a fixture
from tests.unit.store.kit import faces
from tests.unit.store.test_gpu import *  # noqa: F403  its tests, on the card that `open_card` opens
from tests.unit.store.test_gpu import OPTIONS, Open

pytestmark = pytest.mark.gpu


@pytest.fixture
def open_card() -> Open:
    return gpu.open_card


def test_a_cuda_error_ends_the_child_alone(random: np.random.Generator) -> None:  # noqa: F811
    """FAISS aborts on CUDA errors: the child is made to read memory that is not its own."""
    gallery = faces(random, 300, 1)[:, 0]
    index = flat(gallery, OPTIONS, open_card=partial(GpuProcess, module="tests.gpu.broken_card"))
    with pytest.raises(RuntimeError, match="was lost, or FAISS failed"):
        index.search(gallery[5:6], 1, None)


def test_a_card_that_others_have_filled_is_refused(random: np.random.Generator) -> None:  # noqa: F811
    driver = Driver(0)
    blocks: list[int] = []
    size = driver.memory().free
    while size > 1 << 20:
        try:
            blocks.append(driver.allocate(size))
        except CardFull:
            size //= 2
    try:
        with pytest.raises(GpuUnavailable, match=r"MiB of memory free|memory of the GPU is full"):
            flat(faces(random, 300, 1)[:, 0], OPTIONS)
    finally:
        for block in blocks:
            driver.free(block)
