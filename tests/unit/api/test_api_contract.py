"""The calls of the REST contract, on the real service."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from core.domain.bounds import PAGE_SIZE, TOP_K
from core.domain.faces import Purpose
from core.domain.search import Strategy

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from tests.unit.api.conftest import Photos, Resources


def image(data: bytes, field: str = "image") -> list[Any]:
    return [(field, ("photo.png", data))]


def test_health_names_every_component(client: TestClient) -> None:
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json()["status"] in ("ok", "degraded")
    components = answer.json()["components"]
    assert {"faces", "faiss", "qdrant", "ledger"} <= set(components)
    told = {"status", "detail", "since", "progress", "last_error", "last_error_at"}
    assert all(set(part) == told for part in components.values())


def test_enroll_tells_what_became_of_every_image(client: TestClient, photos: Photos, faceless: bytes) -> None:
    answer = client.post(
        "/api/v1/enroll",
        data={"user_id": "ana", "name": "Ána Ruiz", "metadata": '{"team": "night"}'},
        files=[
            ("images", ("front.png", photos.astronaut)),
            ("images", ("wall.png", faceless)),
            ("images", ("rubbish.jpg", b"\x00\x01\x02")),
        ],
    )
    assert answer.status_code == 201
    body = answer.json()
    assert (body["user_id"], body["name"], body["created"]) == ("ana", "Ána Ruiz", True)
    assert [photo["image"] for photo in body["enrolled"]] == ["front.png"]
    assert body["enrolled"][0]["template_id"] > 0
    assert 0 < body["enrolled"][0]["quality"] <= 1
    assert {photo["image"]: photo["reasons"] for photo in body["rejected"]} == {
        "wall.png": ["no_face"],
        "rubbish.jpg": ["not_an_image"],
    }
    assert body["searchable"] is True
    person = client.get("/api/v1/users/ana").json()
    assert (person["templates"], person["metadata"]) == (1, {"team": "night"})


@pytest.mark.parametrize("strategy", list(Strategy))
def test_every_strategy_finds_who_was_just_enrolled(
    client: TestClient, photos: Photos, enroll: Callable[..., None], strategy: Strategy
) -> None:
    enroll()
    answer = client.post("/api/v1/verify", data={"strategy": strategy.value}, files=image(photos.astronaut))
    assert answer.status_code == 200
    body = answer.json()
    assert (body["verified"], body["decision"], body["strategy"]) == (True, "match", strategy.value)
    assert body["confidence"] == body["candidates"][0]["similarity"] > 0.99
    assert body["candidates"][0]["user_id"] == "ana"
    assert body["candidates"][0]["source"] in ("faiss", "qdrant", "both")
    assert set(body["latency_ms"]) == {"detect", "embed", "search", "total"}
    assert set(body["face"]) == {"box", "detection_score", "quality", "yaw", "pitch", "roll"}
    told = {"score", "rejects", "warnings", "eye_distance", "least_eye_distance"}
    assert set(body["face"]["quality"]) == told
    assert len(body["face"]["box"]) == 4


def test_one_to_one_compares_with_that_person_alone(
    client: TestClient, photos: Photos, enroll: Callable[..., None]
) -> None:
    enroll()
    same = client.post("/api/v1/verify", data={"user_id": "ana"}, files=image(photos.astronaut)).json()
    assert (same["verified"], [c["source"] for c in same["candidates"]]) == (True, ["ledger"])
    assert same["strategy"] is None, "nothing was searched"
    other = client.post("/api/v1/verify", data={"user_id": "ana"}, files=image(photos.actor)).json()
    assert (other["verified"], other["decision"]) == (False, "unknown")


def test_an_empty_gallery_recognises_nobody(client: TestClient, photos: Photos) -> None:
    body = client.post("/api/v1/verify", files=image(photos.astronaut)).json()
    assert (body["verified"], body["decision"], body["confidence"]) == (False, "unknown", None)
    assert body["candidates"] == []


def test_identify_looks_up_every_face(
    client: TestClient, photos: Photos, enroll: Callable[..., None], faceless: bytes
) -> None:
    enroll()
    faces = client.post("/api/v1/identify", files=image(photos.group)).json()["faces"]
    assert len(faces) == 6
    assert {face["decision"] for face in faces} == {"unknown"}
    assert all(face["bbox"] == face["face"]["box"] for face in faces)
    found = client.post("/api/v1/identify", files=image(photos.astronaut)).json()["faces"]
    assert found[0]["candidates"][0]["name"] == "Ana Ruiz"
    assert client.post("/api/v1/identify", files=image(faceless)).json()["faces"] == []


def test_search_with_an_embedding(
    client: TestClient, photos: Photos, enroll: Callable[..., None], resources: Resources
) -> None:
    enroll()
    service = resources.service
    face = service.pictures.analyze(service.pictures.decode(photos.astronaut), Purpose.VERIFY).faces[0]
    probe = (face.embedding * 3).tolist()  # need not be normalised
    answer = client.post("/api/v1/search", json={"embedding": probe, "top_k": 1})
    assert answer.status_code == 200
    body = answer.json()
    assert [c["user_id"] for c in body["candidates"]] == ["ana"]
    assert body["decision"] == "match"
    assert body["latency_ms"].keys() == {"hot", "merge", "join", "total"}, "the cache holds everybody"
    assert body["latency_ms"]["total"] > 0


def test_a_person_can_be_renamed_and_noted_about(client: TestClient, enroll: Callable[..., None]) -> None:
    enroll()
    renamed = client.patch("/api/v1/users/ana", json={"name": "  Ana   Soto "}).json()
    assert renamed["name"] == "Ana Soto"
    noted = client.patch("/api/v1/users/ana", json={"metadata": {"shift": "ночь"}}).json()
    assert (noted["name"], noted["metadata"]) == ("Ana Soto", {"shift": "ночь"})
    assert noted.pop("warnings") == []
    assert client.get("/api/v1/users/ana").json() == noted


def test_erasing_gives_a_receipt_and_nobody_is_found_any_more(
    client: TestClient, photos: Photos, enroll: Callable[..., None]
) -> None:
    enroll()
    answer = client.delete("/api/v1/users/ana")
    assert answer.status_code == 200
    receipt = answer.json()
    on_disk = receipt.pop("disk")
    assert receipt == {
        "user_id": "ana",
        "templates_erased": 1,
        "tiers": {"ledger": 0, "qdrant": 0, "faiss": 0},
    }
    assert on_disk["ledger"] == {"bytes": 0, "gone_by": None}
    assert on_disk["qdrant"]["bytes"] == 4 * 128
    assert datetime.fromisoformat(on_disk["qdrant"]["gone_by"]) > datetime.now(UTC)
    assert client.delete("/api/v1/users/ana").status_code == 404
    for strategy in Strategy:
        body = client.post("/api/v1/verify", data={"strategy": strategy.value}, files=image(photos.astronaut))
        assert body.json()["candidates"] == []


@pytest.mark.parametrize("path", ["/users", "/api/v1/users"])
def test_people_are_listed_and_paged(
    client: TestClient, photos: Photos, enroll: Callable[..., None], path: str
) -> None:
    for number, name in enumerate(["Ána", "Bea", "Eva"]):
        enroll(f"u{number}", name, allow_duplicate="true")
    first = client.get(path, params={"limit": 2}).json()
    assert [user["name"] for user in first["users"]] == ["Ána", "Bea"]
    assert first["total"] == 3
    second = client.get(path, params={"limit": 2, "cursor": first["next"]}).json()
    assert ([user["name"] for user in second["users"]], second["next"]) == (["Eva"], None)
    assert [u["user_id"] for u in client.get(path, params={"q": "ANA"}).json()["users"]] == ["u0"]


@pytest.mark.parametrize("path", ["/stats", "/api/v1/stats"])
def test_stats_count_what_happened(
    client: TestClient, photos: Photos, enroll: Callable[..., None], path: str
) -> None:
    enroll()
    client.post("/api/v1/verify", data={"strategy": "hybrid"}, files=image(photos.astronaut))
    stats = client.get(path).json()
    assert stats["gallery"] == {"people": 1, "templates": 1}
    assert stats["tiers"]["faiss"]["lag"] == stats["tiers"]["qdrant"]["lag"] == 0
    hybrid = stats["latency"]["by_strategy"]["hybrid"]
    assert 0 < hybrid["p50"] <= hybrid["p95"] <= hybrid["p99"]
    for part in ("throughput", "hit_rate", "errors", "memory", "gpu"):
        assert stats[part], part


def test_errors_are_counted(client: TestClient) -> None:
    before = client.get("/stats").json()["errors"].get("unknown_person", 0)
    client.get("/api/v1/users/nobody")
    assert client.get("/stats").json()["errors"]["unknown_person"] == before + 1


def test_metrics_are_prometheus_text(client: TestClient) -> None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "\nrobi_templates 0.0\n" in answer.text


def test_the_cold_tier_tells_how_it_fares(client: TestClient) -> None:
    body = client.get("/api/v1/performance/qdrant").json()
    assert {
        "mode",
        "points",
        "segments",
        "index",
        "latencies_ms",
        "seq",
        "seq_lag",
        "retries",
        "errors",
    } <= set(body)
    assert body["seq_lag"] == 0


def test_the_openapi_document_has_every_call_and_every_error(client: TestClient) -> None:
    document = client.get("/api/v1/openapi.json").json()
    calls = {
        (method.upper(), path): call
        for path, methods in document["paths"].items()
        for method, call in methods.items()
    }
    assert set(calls) == {
        ("GET", "/users"),
        ("GET", "/users/{user_id}"),
        ("PATCH", "/users/{user_id}"),
        ("DELETE", "/users/{user_id}"),
        ("GET", "/stats"),
        ("POST", "/enroll"),
        ("POST", "/verify"),
        ("POST", "/identify"),
        ("POST", "/search"),
        ("GET", "/performance/qdrant"),
    }
    assert "multipart/form-data" in calls["POST", "/enroll"]["requestBody"]["content"]
    for call in calls.values():
        good = next(response for status, response in call["responses"].items() if status.startswith("2"))
        assert "$ref" in good["content"]["application/json"]["schema"]
        assert call["responses"]["default"]
        assert "HTTPValidationError" not in str(call["responses"])


def test_the_openapi_document_states_the_ranges_that_are_enforced(client: TestClient) -> None:
    document = client.get("/api/v1/openapi.json").json()
    (limit,) = (p["schema"] for p in document["paths"]["/users"]["get"]["parameters"] if p["name"] == "limit")
    assert (limit["minimum"], limit["maximum"]) == (PAGE_SIZE.low, PAGE_SIZE.high)
    queries = [schema for name, schema in document["components"]["schemas"].items() if "top_k" in str(schema)]
    assert len(queries) == 3, "verify, identify and search"
    for fields in (schema["properties"] for schema in queries):
        assert (fields["top_k"]["minimum"], fields["top_k"]["maximum"]) == (TOP_K.low, TOP_K.high)
        threshold = fields["threshold"]["anyOf"][0]
        assert (threshold["exclusiveMinimum"], threshold["exclusiveMaximum"]) == (0, 1)


def test_the_docs_page_shows_every_call_without_a_network(client: TestClient) -> None:
    page = client.get("/api/v1/docs")
    assert page.headers["content-type"].startswith("text/html")
    for path in client.get("/api/v1/openapi.json").json()["paths"]:
        assert f"/api/v1{path}</h2>" in page.text
    assert re.findall(r"<script|https?://|//cdn", page.text) == []
