"""The hot tier and the store on a real card: the promises of `tests/unit/store/test_gpu_tier.py`."""

from __future__ import annotations

import pytest

from core.store.tiers.faiss.gpu import index as gpu
from tests.unit.store.conftest import feed, open_store, random  # noqa: F401  fixtures
from tests.unit.store.test_gpu import Open
from tests.unit.store.test_gpu_tier import *  # noqa: F403  its tests, on the card that `open_card` opens

pytestmark = pytest.mark.gpu


@pytest.fixture
def open_card() -> Open:
    return gpu.open_card
