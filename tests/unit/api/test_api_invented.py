"""Whatever can be written can be read again: by everybody, in every list."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from tests.unit.api.conftest import Photos, Resources

INVENTED = settings(
    max_examples=80,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
TEXT = st.text(st.characters(exclude_categories=()), max_size=40)  # with controls and halves of characters
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)


def nested(depth: int, kind: str) -> str:
    opening, closing = ('{"a":', "}") if kind == "object" else ("[", "]")
    return '{"a":' + opening * (depth - 1) + "1" + closing * (depth - 1) + "}"


@INVENTED
@given(name=st.none() | TEXT, metadata=st.none() | st.dictionaries(TEXT, JSON, max_size=4), asked=TEXT)
def test_what_was_invented_is_refused_or_served(
    client: TestClient, enroll: Callable[..., None], name: str | None, metadata: Any, asked: str
) -> None:
    if client.get("/api/v1/users/ana").status_code == 404:
        enroll()
    sent = json.dumps({"name": name, "metadata": metadata}).encode()
    headers = {"content-type": "application/json", "x-request-id": ascii(asked)}
    answer = client.patch("/api/v1/users/ana", content=sent, headers=headers)
    assert answer.status_code in (200, 400, 413), answer.text
    listed = client.get("/api/v1/users").json()["users"]
    assert listed == [client.get("/api/v1/users/ana").json()]
    if answer.status_code == 200 and metadata is not None:
        assert listed[0]["metadata"] == json.loads(json.dumps(metadata))
    query = asked.encode("utf-8", "surrogatepass")
    for parameters in ({"q": query}, {"cursor": query}, {"limit": query}):
        assert client.get("/api/v1/users", params=parameters).status_code in (200, 400)


@pytest.mark.parametrize("kind", ["object", "list"])
@pytest.mark.parametrize("depth", [9, 100, 260, 900, 2_500])
def test_nesting_is_refused_at_both_doors(
    client: TestClient, enroll: Callable[..., None], photos: Photos, kind: str, depth: int
) -> None:
    enroll()
    text = nested(depth, kind)
    by_form = client.post(
        "/api/v1/enroll",
        data={"user_id": "eva", "metadata": text},
        files=[("images", ("p.png", photos.astronaut))],
    )
    headers = {"content-type": "application/json"}
    by_patch = client.patch("/api/v1/users/ana", content=f'{{"metadata": {text}}}', headers=headers)
    for answer in (by_form, by_patch):
        assert answer.status_code == 400, answer.text
    assert by_form.json()["error"]["code"] == "invalid_metadata"
    assert client.get("/api/v1/users").status_code == 200


@pytest.mark.parametrize("depth", [9, 260, 900, 20_000])
def test_what_an_older_version_has_stored_breaks_no_list(
    client: TestClient, enroll: Callable[..., None], resources: Resources, depth: int
) -> None:
    enroll(metadata='{"team": "night"}')
    with resources.service.ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE people SET metadata = ?", (nested(depth, "object"),))
    (listed,) = client.get("/api/v1/users").json()["users"]
    assert bool(listed["metadata"]) is (depth == 9)  # what can be sent still is
    assert client.get("/api/v1/users/ana").json() == listed
    assert client.patch("/api/v1/users/ana", json={"metadata": {"team": "day"}}).status_code == 200
    assert client.get("/api/v1/users/ana").json()["metadata"] == {"team": "day"}


def test_a_name_that_is_there_or_looks_like_it_is_warned_of(
    client: TestClient, enroll: Callable[..., None], photos: Photos
) -> None:
    enroll()
    sent = {"user_id": "eva", "name": "ÁNA  ruiz", "allow_duplicate": "true"}
    answer = client.post("/api/v1/enroll", data=sent, files=[("images", ("p.png", photos.actor))]).json()
    assert [(w["code"], w["user_ids"]) for w in answer["warnings"]] == [("name_exists", ["ana"])]
    answer = client.patch("/api/v1/users/eva", json={"name": "\u0410na Ruiz"}).json()  # a Cyrillic A
    assert {w["code"]: w["user_ids"] for w in answer["warnings"]} == {
        "name_looks_like": ["ana"],
        "mixed_alphabets": [],
    }
    assert client.patch("/api/v1/users/eva", json={"name": "Eva"}).json()["warnings"] == []


def test_the_name_of_a_file_is_answered_without_what_nobody_sees(
    client: TestClient, photos: Photos, faceless: bytes
) -> None:
    files = [("images", ("front.png", photos.astronaut)), ("images", ("a\u202egpj.exe", faceless))]
    answer = client.post("/api/v1/enroll", data={"user_id": "ana"}, files=files).json()
    assert answer["rejected"][0]["image"] == "agpj.exe"
