"""Ledgers in a file of SQLite and in a database of a real PostgreSQL: the same tests hold both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from core.domain.faces import PackInfo
from core.domain.templates import NewTemplate
from core.ledger.ledger import Ledger
from core.ledger.opening import Place
from tests.postgres_server import MIGRATED, PostgresServer, required

DIMENSION = 128
MakeTemplates = Callable[..., list[NewTemplate]]
MakePlace = Callable[[], Place]
SQLITE = pytest.mark.parametrize("kind", ["sqlite"])
"""For a test of what only SQLite has: files, pragmas, plans."""


@pytest.fixture
def pack() -> PackInfo:
    return PackInfo(id="open", digest="ab" * 32, dimension=DIMENSION, licence="test")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def kind(request: pytest.FixtureRequest) -> str:
    """Which database a test is run on."""
    return str(request.param)


@pytest.fixture
def make_place(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> MakePlace:
    """Gives places where there is nothing at all yet."""
    if kind == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.database
    numbers = iter(range(1000))
    return lambda: tmp_path / f"new-{next(numbers)}" / "ledger.db"


@pytest.fixture
def place(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    """Where a test's ledger is."""
    if kind == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.database(MIGRATED)
    return tmp_path / "ledger.db"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger's file is: for what only files have."""
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(place: Place, pack: PackInfo) -> Iterator[Ledger]:
    opened = Ledger.open(place, pack)
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


@pytest.fixture
def other(ledger: Ledger, place: Place, pack: PackInfo) -> Iterator[Ledger]:
    """Another Robi on the same database."""
    second = Ledger.open(place, pack)
    yield second
    second.close()


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """One that may be stopped."""
    server = PostgresServer(required())
    yield server
    server.remove()
