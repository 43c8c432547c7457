"""`robi/client.py` says what the API's document says, and a real server answers it."""

from __future__ import annotations

import inspect
import socket
import threading
import types
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from api.app import create_api, root_routes
from core.domain.faces import Purpose
from robi import client as module
from robi.client import RobiApiError, RobiClient
from tests.unit.robi.conftest import Server

CALLS = {
    ("GET", "/users"): (RobiClient.users_page, module.UserPageReply),
    ("GET", "/users/{user_id}"): (RobiClient.user, module.UserReply),
    ("PATCH", "/users/{user_id}"): (RobiClient.update_user, module.ChangedUserReply),
    ("DELETE", "/users/{user_id}"): (RobiClient.erase, module.ReceiptReply),
    ("GET", "/stats"): (RobiClient.stats, module.StatsReply),
    ("POST", "/enroll"): (RobiClient.enroll, module.EnrollReply),
    ("POST", "/verify"): (RobiClient.verify, module.VerifyReply),
    ("POST", "/identify"): (RobiClient.identify, module.IdentifyReply),
    ("POST", "/search"): (RobiClient.search, module.SearchReply),
}
# What the client leaves out, on purpose: figures of Qdrant's own are in `stats` as well.
NO_CALLS = {("GET", "/performance/qdrant")}
# At the root: only `/health` is not also under `/api/v1`; the others are for orchestrators and Prometheus.
NO_ROOT_CALLS = {"/livez", "/readyz", "/metrics", "/users", "/stats"}
NO_FIELDS: Mapping[type, set[str]] = {}  # fields of answers that are left out
SIMPLE = {"string": str, "integer": int, "number": float, "boolean": bool}


def nothing() -> None:
    raise AssertionError("describing the API needs no resources")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_api(nothing).openapi()


def resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def parameters_of(document: Mapping[str, Any], call: Mapping[str, Any]) -> set[str]:
    """Of path, query, form and JSON."""
    names = {parameter["name"] for parameter in call.get("parameters", ())}
    for content in call.get("requestBody", {}).get("content", {}).values():
        names |= resolved(document, content["schema"])["properties"].keys()
    return names


def answer_of(call: Mapping[str, Any]) -> Mapping[str, Any]:
    good = next(answer for status, answer in call["responses"].items() if status.startswith("2"))
    return good["content"]["application/json"]["schema"]


def assert_same(document: Mapping[str, Any], schema: Mapping[str, Any], kind: Any, where: str) -> None:
    """The client's type of a value is the document's, all the way down."""
    schema = resolved(document, schema)
    if "anyOf" in schema:
        options = [option for option in schema["anyOf"] if option != {"type": "null"}]
        inner = get_args(kind)
        if len(options) < len(schema["anyOf"]):
            assert type(None) in inner, where
            inner = tuple(one for one in inner if one is not type(None))
        if len(options) == 1:
            assert_same(document, options[0], inner[0], where)
        return
    if is_dataclass(kind):
        left_out = NO_FIELDS.get(kind, set())
        assert schema["properties"].keys() - left_out == {one.name for one in fields(kind)}, where
        hints = get_type_hints(kind)
        for name in schema["properties"].keys() - left_out:
            assert_same(document, schema["properties"][name], hints[name], f"{where}.{name}")
    elif schema.get("type") == "array":
        assert kind.__origin__ is tuple, where
        assert_same(document, schema["items"], get_args(kind)[0], f"{where}[]")
    elif schema.get("type") == "object":
        assert kind.__origin__ is Mapping, where
        values = schema.get("additionalProperties")
        if isinstance(values, dict) and get_args(kind)[1] is not Any:
            assert_same(document, values, get_args(kind)[1], f"{where}{{}}")
    elif "type" in schema:
        wanted = datetime if schema.get("format") == "date-time" else SIMPLE[schema["type"]]
        assert kind is wanted, where


def test_every_call_and_parameter_of_the_document_is_in_the_client(document: dict[str, Any]) -> None:
    calls = {
        (method.upper(), path): call
        for path, methods in document["paths"].items()
        for method, call in methods.items()
    }
    assert calls.keys() == CALLS.keys() | NO_CALLS
    for key, (method, _) in CALLS.items():
        taken = inspect.signature(method).parameters.keys() - {"self"}
        assert parameters_of(document, calls[key]) == taken, key


def test_every_field_of_every_answer_is_in_the_client(document: dict[str, Any]) -> None:
    for (method, path), (_, reply) in CALLS.items():
        call = document["paths"][path][method.lower()]
        assert_same(document, answer_of(call), reply, reply.__name__)


def test_the_root_has_no_call_that_the_client_does_not_know() -> None:
    assert {route.path for route in root_routes(nothing)} == {"/health"} | NO_ROOT_CALLS
    schema = {"$ref": "#/components/schemas/HealthAnswer"}
    app = root_routes(nothing)[0].app
    assert_same(app.openapi(), schema, module.HealthReply, "HealthReply")


def test_every_value_that_comes_back_is_frozen() -> None:
    replies = [kind for name, kind in vars(module).items() if name.endswith("Reply")]
    assert len(replies) > 15
    assert all(kind.__dataclass_params__.frozen for kind in replies)


def test_health_and_stats_of_a_real_server(client: RobiClient) -> None:
    health = client.health()
    assert health.status in ("ok", "degraded")
    assert {"faces", "faiss", "qdrant", "ledger"} <= health.components.keys()
    assert health.components["faces"].since < datetime.now(UTC)
    stats = client.stats()
    assert stats.gallery == {"people": 0, "templates": 0}
    assert client.stats("1h").range.name == "1h"
    with pytest.raises(FrozenInstanceError):
        stats.error_rate = 1.0


def test_enrolling_and_recognising(client: RobiClient, album: Path) -> None:
    made = client.enroll(
        "ana", [album / "ana1.png", album / "group.jpg"], name="Ána Ruiz", metadata={"a": [1]}
    )
    assert (made.name, made.created, made.searchable) == ("Ána Ruiz", True, True)
    assert [photo.image for photo in made.enrolled] == ["ana1.png"]
    assert [(photo.image, photo.reasons) for photo in made.rejected] == [("group.jpg", ("several_faces",))]
    added = client.enroll("ana", (album / "ana2.jpg").read_bytes(), add_to_existing=True)
    assert (added.created, [photo.image for photo in added.enrolled]) == (False, ["image 1"])
    found = client.verify(str(album / "ana2.jpg"), strategy="qdrant_only", top_k=1, threshold=0.5)
    assert (found.verified, found.decision, found.strategy, found.threshold) == (
        True,
        "match",
        "qdrant_only",
        0.5,
    )
    assert [(one.user_id, one.source) for one in found.candidates] == [("ana", "qdrant")]
    assert found.confidence == found.candidates[0].similarity
    assert len(found.face.box) == 4
    other = client.verify(album / "bob1.png", user_id="ana")
    assert (other.verified, other.strategy) == (False, None)
    everybody = client.identify(album / "group.jpg", top_k=2)
    assert [face.decision for face in everybody.faces] == ["unknown"] * 6


def test_searching_with_an_embedding(client: RobiClient, album: Path, engine: Any, service: Any) -> None:
    client.enroll("ana", album / "ana1.png")
    picture = service.pictures.decode((album / "ana2.jpg").read_bytes())
    face = engine.analyze(picture, purpose=Purpose.VERIFY).faces[0]
    found = client.search(face.embedding, strategy="hybrid", top_k=1, threshold=0.5)
    assert [one.user_id for one in found.candidates] == ["ana"]
    assert found.decision == "match"


def test_people_are_paged_renamed_and_erased(client: RobiClient, album: Path) -> None:
    for number in range(3):
        client.enroll(f"u{number}", album / "ana1.png", name=f"Eva {number}", allow_duplicate=True)
    assert [user.user_id for user in client.users(limit=2)] == ["u0", "u1", "u2"]
    assert [user.user_id for user in client.users("eva 1")] == ["u1"]
    page = client.users_page(limit=2)
    assert (len(page.users), page.total) == (2, 3)
    renamed = client.rename("u0", "Eva 1")
    assert [(warning.code, warning.user_ids) for warning in renamed.warnings] == [("name_exists", ("u1",))]
    assert client.update_user("u0", metadata={"shift": "ночь"}).name == "Eva 1"
    assert client.user("u0").metadata == {"shift": "ночь"}
    receipt = client.erase("u0")
    assert receipt.tiers == {"ledger": 0, "qdrant": 0, "faiss": 0}
    assert receipt.disk["qdrant"].bytes == 4 * 128
    with pytest.raises(RobiApiError) as problem:
        client.user("u0")
    assert (problem.value.code, problem.value.status) == ("unknown_person", 404)
    assert problem.value.hint
    assert len(problem.value.request_id) == 16


def test_a_duplicate_says_who_it_is(client: RobiClient, album: Path) -> None:
    client.enroll("ana", album / "ana1.png")
    with pytest.raises(RobiApiError) as problem:
        client.enroll("eva", album / "ana2.jpg")
    assert (problem.value.code, problem.value.detail["user_id"]) == ("duplicate_person", "ana")


def test_ids_and_names_of_any_kind_arrive_as_they_are(
    client: RobiClient, album: Path, tmp_path: Path
) -> None:
    odd = tmp_path / 'a "b"\n ü.png'
    odd.write_bytes((album / "ana1.png").read_bytes())
    made = client.enroll("a.b_c@d-e", odd, name='"Łukasz" 李')
    assert (made.user_id, made.name) == ("a.b_c@d-e", '"Łukasz" 李')
    assert client.user("a.b_c@d-e").name == '"Łukasz" 李'
    with pytest.raises(RobiApiError) as problem:
        client.user("../../health?x=#")
    assert problem.value.status == 404


def test_a_photo_that_is_too_large_is_refused_in_words(client: RobiClient) -> None:
    with pytest.raises(RobiApiError) as problem:
        client.verify(b"\xff\xd8\xff" + bytes(80_000_000))
    assert (problem.value.code, problem.value.status) in [("image_too_large", 413), ("body_too_large", 413)]


def test_a_photo_that_cannot_be_read_is_never_sent(tmp_path: Path) -> None:
    with pytest.raises(RobiApiError) as problem:
        RobiClient("http://127.0.0.1:9").verify(tmp_path / "nowhere.jpg")
    assert (problem.value.code, problem.value.status) == ("photo_unreadable", 0)


def test_nobody_there_is_said(server: Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(RobiApiError) as problem:
            RobiClient(url).health()
    assert (problem.value.code, problem.value.status) == ("unreachable", 0)
    with pytest.raises(RobiApiError) as problem:
        RobiClient(server.url.replace("http:", "https:")).health()
    assert problem.value.code == "unreachable"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"ok"}',
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_somebody_else_there_is_said(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(RobiApiError) as problem:
            RobiClient(f"http://127.0.0.1:{listener.getsockname()[1]}").health()
        thread.join()
    assert problem.value.code == "no_robi"


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8000", "ftp://host", "http://", "http://me:secret@host", "http://host/robi", "http://h:x"],
)
def test_an_address_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be like|Port"):
        RobiClient(url)


def test_types_are_optional_by_none_alone() -> None:
    """What `robi.client` makes of JSON relies on it."""
    for name, kind in vars(module).items():
        if name.endswith("Reply"):
            for hint in get_type_hints(kind).values():
                if isinstance(hint, types.UnionType):
                    assert len(get_args(hint)) == 2
                    assert get_args(hint)[1] is type(None)
