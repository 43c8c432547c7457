from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from core.backup import erasure_list
from core.backup.erasure_list import ErasureList
from core.backup.sealing import Secret
from core.config.settings import Settings
from core.domain.faces import Embedding, PackInfo
from core.domain.search import Strategy
from core.domain.templates import NewTemplate
from core.ledger.ledger import Ledger
from core.ledger.models import metadata
from core.store.hybrid import HybridVectorStore

PACK = PackInfo("open", "ab" * 32, 128, "test")


def face(number: int) -> Embedding:
    """A vector that no other number's comes near."""
    vector = np.random.default_rng(number).standard_normal(PACK.dimension).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def opened(data_dir: Path) -> Ledger:
    return Ledger.open(data_dir / "ledger.db", PACK)


def enroll(ledger: Ledger, number: int, **more: Any) -> None:
    new = [NewTemplate(face(number), 0.9, "upload", b"thumbnail of %d" % number)]
    ledger.people.enroll(f"person-{number}", f"Somebody Nr. {number}", new, **more)


def follow(ledger: Ledger, data_dir: Path) -> None:
    """As a running Robi does at its start and at each erasure."""
    ErasureList(data_dir / erasure_list.NAME, ledger.feed.gallery_id, ledger.erased).follow()


def rows(data_dir: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All that the ledger holds, table by table."""
    ledger = opened(data_dir)
    with ledger.database.snapshot() as connection:
        held = {t.name: [tuple(row) for row in connection.execute(select(t))] for t in metadata.sorted_tables}
    ledger.close()
    return held


def people(data_dir: Path) -> set[str]:
    return {row[1] for row in rows(data_dir)["people"]}


def there(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@dataclass(frozen=True)
class Gallery:
    data_dir: Path
    ledger: Ledger


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    """A directory in which twenty people were enrolled and three erased; it is open."""
    data_dir = tmp_path / "data"
    ledger = opened(data_dir)
    for number in range(20):
        enroll(ledger, number, metadata={"badge": number})
    for number in (3, 4, 5):
        ledger.people.erase(f"person-{number}")
    ledger.people.update("person-1", name="Somebody Else")
    follow(ledger, data_dir)
    yield Gallery(data_dir, ledger)
    ledger.close()


@pytest.fixture(params=[None, b"correct horse battery"], ids=["clear", "encrypted"])
def secret(request: pytest.FixtureRequest) -> Secret | None:
    return None if request.param is None else Secret(request.param)


Found = Callable[[Path, int, Strategy], str | None]


@pytest.fixture
def found() -> Iterator[Found]:
    """Whom a strategy finds for a face in a data directory, by both tiers as a start of Robi fills them."""
    stores: dict[Path, tuple[Ledger, HybridVectorStore]] = {}

    def search(data_dir: Path, number: int, strategy: Strategy) -> str | None:
        if data_dir not in stores:
            settings = Settings(_env_file=None, robi_data_dir=data_dir, robi_drift_check_minutes=0)
            ledger = opened(data_dir)
            store = HybridVectorStore.open(settings, ledger.feed, PACK, data_dir)
            assert store.sync(ledger.feed.head()) == ()
            stores[data_dir] = (ledger, store)
        result = stores[data_dir][1].search(face(number), strategy=strategy, threshold=0.5)
        best = next((c for c in result.candidates if c.similarity > 0.5), None)
        return None if best is None else best.user_id

    yield search
    for ledger, store in stores.values():
        store.close()
        ledger.close()
