from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import PIL.Image
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from api.app import create_api, root_routes
from api.guard import Guard
from core.config.settings import Settings
from core.faces.engine import FaceEngine
from core.ledger.ledger import Ledger
from core.live import LiveSessions
from core.services.demo import demo_photos
from core.services.service import RobiService
from core.store.hybrid import HybridVectorStore

with warnings.catch_warnings():  # it would rather have a newer HTTP client
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

MAX_UPLOAD_MB = 2
MAX_MEGAPIXELS = 4


@dataclass(frozen=True)
class Resources:
    settings: Settings
    service: RobiService
    live: LiveSessions


@dataclass(frozen=True)
class Photos:
    """Real faces that dependencies ship: one astronaut, one actor, one group of six."""

    astronaut: bytes
    actor: bytes
    group: bytes


@pytest.fixture(scope="session")
def resources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Resources]:
    """The real thing, once: models, ledger, both tiers."""
    data_dir = tmp_path_factory.mktemp("robi")
    settings = Settings(
        _env_file=None,
        robi_data_dir=data_dir,
        robi_max_upload_mb=MAX_UPLOAD_MB,
        robi_max_image_megapixels=MAX_MEGAPIXELS,
    )
    engine = FaceEngine.open(settings)
    ledger = Ledger.open(data_dir / "ledger.db", engine.pack)
    store = HybridVectorStore.open(settings, ledger.feed, engine.pack, data_dir)
    service = RobiService.open(settings, engine, ledger, store)
    yield Resources(settings, service, LiveSessions(service))
    for part in (service, store, ledger, engine):
        part.close()


@pytest.fixture
def app(resources: Resources) -> Iterator[Starlette]:
    """As the dashboard mounts it."""
    api = create_api(lambda: resources)
    root = root_routes(lambda: resources)
    yield Guard(Starlette(routes=[*root, Mount("/api/v1", app=api)]), ["testserver"])
    for inner in (api, root[0].app):
        inner.state.backend.close()


@pytest.fixture
def client(app: Starlette, resources: Resources) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=True) as client:
        yield client
    for person in resources.service.people.listing(limit=500).items:
        resources.service.erasures.erase(person.user_id)


@pytest.fixture(scope="session")
def photos() -> Photos:
    by_name = {photo.path.name: photo.path.read_bytes() for photo in demo_photos()}
    group, actor, astronaut = (by_name[name] for name in ("t1.jpg", "Tom_Hanks_54745.png", "astronaut.png"))
    return Photos(astronaut, actor, group)


@pytest.fixture
def enroll(client: TestClient, photos: Photos) -> Callable[..., None]:
    """Enroll the astronaut, as Ana unless said otherwise."""

    def enroll(user_id: str = "ana", name: str = "Ana Ruiz", **fields: str) -> None:
        answer = client.post(
            "/api/v1/enroll",
            data={"user_id": user_id, "name": name, **fields},
            files=[("images", ("front.png", photos.astronaut))],
        )
        assert answer.status_code == 201, answer.text

    return enroll


@pytest.fixture(scope="session")
def faceless() -> bytes:
    return encoded(PIL.Image.fromarray(np.full((240, 320, 3), 127, np.uint8)), "PNG")


def encoded(picture: PIL.Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def refusal(client: TestClient) -> Callable[..., dict]:
    """Send a request that must be refused with this status and code; returns the error's body."""
    return partial(_refusal, client)


def _refusal(client: TestClient, status: int, code: str, method: str, path: str, **sent: object) -> dict:
    answer = client.request(method, path, **sent)
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error"}
    error = body["error"]
    assert error["code"] == code
    assert error["request_id"] == answer.headers["X-Request-ID"]
    assert error["message"].endswith((".", "?", ")"))
    return error
