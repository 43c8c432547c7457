"""Real parts, made once: the open face pack, the engine on it, and services on empty data directories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.config.settings import Settings
from core.domain.faces import Image
from core.faces.engine import FaceEngine
from core.ledger.ledger import Ledger
from core.ledger.migrations import migrate
from core.ledger.opening import open_database
from core.services.demo import demo_photos
from core.services.service import RobiService
from core.store.hybrid import HybridVectorStore
from tests.postgres_server import MIGRATED, PostgresServer, required

_DEPTH = len(Path(__file__).parent.parts)
KINDS = ("unit", "contract", "pages", "chaos", "gpu", "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick kinds first. The browser's driver keeps an event loop in the main thread, so it comes last."""
    items.sort(key=lambda item: KINDS.index(kind) if (kind := item.path.parts[_DEPTH]) in KINDS else 0)


@pytest.fixture(scope="session")
def pack_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which the open pack has been built."""
    return tmp_path_factory.mktemp("pack")


@pytest.fixture(scope="session")
def engine(pack_dir: Path) -> Iterator[FaceEngine]:
    engine = FaceEngine.open(Settings(_env_file=None, robi_data_dir=pack_dir))
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def always_fresh() -> Iterator[None]:
    """Tests look right after they changed something; whoever counts the looks sets it back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.monitoring.snapshot.FRESH_S", 0.0)
        yield


@pytest.fixture
def make_service(engine: FaceEngine, tmp_path: Path) -> Iterator[Callable[..., RobiService]]:
    """Opens services: real ledger, real Qdrant Edge child, real FAISS, in a directory of the test's own."""
    opened: list[RobiService] = []

    def make(**settings: object) -> RobiService:
        chosen = Settings(_env_file=None, robi_data_dir=tmp_path / str(len(opened)), **settings)
        chosen.robi_data_dir.mkdir()
        ledger = Ledger.open(chosen.robi_data_dir / "ledger.db", engine.pack)
        store = HybridVectorStore.open(chosen, ledger.feed, engine.pack, chosen.robi_data_dir)
        opened.append(RobiService.open(chosen, engine, ledger, store))
        return opened[-1]

    yield make
    for service in opened:
        service.close()
        service.store.close()
        service.ledger.close()


@pytest.fixture
def service(make_service: Callable[..., RobiService]) -> RobiService:
    return make_service()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for the whole session; it has a database with the ledger's tables to copy from."""
    server = PostgresServer(required())
    try:
        server.execute(f"CREATE DATABASE {MIGRATED} TEMPLATE template0")
        database = open_database(server.url(MIGRATED))
        with database.write() as connection:
            migrate(connection)
        database.close()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def photos() -> dict[str, bytes]:
    """The photos that dependencies ship: `group` (six people), `hanks`, `astronaut`."""
    group, hanks, astronaut = demo_photos()
    return {
        "group": group.path.read_bytes(),
        "hanks": hanks.path.read_bytes(),
        "astronaut": astronaut.path.read_bytes(),
    }


def picture(data: bytes) -> Image:
    """A photo's pixels, BGR."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def jpeg(image: Image, quality: int = 92) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


@pytest.fixture(scope="session")
def variants(photos: dict[str, bytes]) -> dict[str, bytes]:
    """Other pictures of the same people: scaled, rotated a little, lit differently."""

    def vary(data: bytes, angle: float, scale: float, gain: float) -> bytes:
        image = picture(data)
        height, width = image.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale)
        turned = cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
        return jpeg(cv2.convertScaleAbs(turned, alpha=gain), 80)

    return {name: vary(photos[name], 4.0, 0.9, 0.85) for name in ("hanks", "astronaut")}
