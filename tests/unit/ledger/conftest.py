from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from core.domain.faces import PackInfo
from core.domain.templates import NewTemplate
from core.ledger.ledger import Ledger

DIMENSION = 128
MakeTemplates = Callable[..., list[NewTemplate]]


@pytest.fixture
def pack() -> PackInfo:
    return PackInfo(id="open", digest="ab" * 32, dimension=DIMENSION, licence="test")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path, pack: PackInfo) -> Iterator[Ledger]:
    opened = Ledger.open(path, pack)
    yield opened
    opened.close()


@pytest.fixture
def make() -> MakeTemplates:
    """Random unit vectors; the same ones in every run."""
    random = np.random.default_rng(7)

    def templates(count: int = 1, *, via: str = "api", thumbnail: bytes | None = None) -> list[NewTemplate]:
        rows = random.standard_normal((count, DIMENSION)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return [NewTemplate(row, 0.9, via, thumbnail) for row in rows]

    return templates
