"""What was acknowledged over HTTP survives kill -9 of the whole process, at a random moment."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

from core.services.demo import demo_photos
from tests.e2e.conftest import Server, start_server, stop_server
from tests.unit.store.kit import eventually

ROUNDS = 3


class Writer(threading.Thread):
    """Enrolls people and erases every third until the server dies; remembers what was acknowledged."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(name=name)
        self.url = url
        self.enrolled: set[str] = set()
        self.erased: set[str] = set()
        self.unsure: set[str] = set()  # asked to be erased; the answer never came

    def run(self) -> None:
        photo = demo_photos()[-1].path.read_bytes()
        with httpx.Client(base_url=self.url, timeout=10) as client:
            try:
                for number in range(10_000):
                    self._enroll(client, f"{self.name}-{number}", photo)
                    if number % 3 == 0:
                        self._erase(client, f"{self.name}-{number}")
            except httpx.HTTPError:
                return  # the server was killed

    def _enroll(self, client: httpx.Client, user_id: str, photo: bytes) -> None:
        answer = client.post(
            "/api/v1/enroll",
            data={"user_id": user_id, "allow_duplicate": "true"},
            files={"images": ("a.png", photo)},
        )
        assert answer.status_code == 201, answer.text
        self.enrolled.add(user_id)

    def _erase(self, client: httpx.Client, user_id: str) -> None:
        self.unsure.add(user_id)
        answer = client.delete(f"/api/v1/users/{user_id}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["tiers"] == {"ledger": 0, "qdrant": 0, "faiss": 0}
        self.erased.add(user_id)


@pytest.mark.timeout(240)
def test_no_acknowledged_enrollment_is_lost_and_no_erasure_undone(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    moments = random.Random(seed)
    enrolled: set[str] = set()
    erased: set[str] = set()
    unsure: set[str] = set()
    for number in range(ROUNDS):
        server = start_server(tmp_path / "data")
        try:
            writers = [Writer(server.url, f"r{number}w{w}") for w in range(2)]
            for writer in writers:
                writer.start()
            time.sleep(moments.uniform(0.5, 2.0))
        finally:
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
        for writer in writers:
            writer.join()
            enrolled |= writer.enrolled
            erased |= writer.erased
            unsure |= writer.unsure - writer.erased
    assert enrolled
    check(start_server(tmp_path / "data"), enrolled, erased, unsure)
    print(f"{len(enrolled)} enrollments and {len(erased)} erasures acknowledged over {ROUNDS} kills")


def in_step(client: httpx.Client, templates: int) -> bool:
    stats = client.get("/stats").json()
    tiers = stats["tiers"].values()
    held = {stats["gallery"]["templates"], *(tier["templates"] for tier in tiers)}
    return held == {templates} and {tier["lag"] for tier in tiers} == {0}


def check(server: Server, enrolled: set[str], erased: set[str], unsure: set[str]) -> None:
    try:
        with httpx.Client(base_url=server.url, timeout=10) as client:
            present = people(client)
            assert enrolled - erased - unsure <= present, "acknowledged enrollments were lost"
            assert not erased & present, "acknowledged erasures were undone"
            assert eventually(lambda: in_step(client, len(present)), 5.0)  # stats may be a second old
            for strategy in ("hybrid", "faiss_first", "qdrant_only"):
                answer = client.post(
                    "/api/v1/verify",
                    data={"strategy": strategy, "top_k": "100"},
                    files={"image": ("a.png", demo_photos()[-1].path.read_bytes())},
                ).json()
                found = {candidate["user_id"] for candidate in answer["candidates"]}
                assert found <= present
                assert len(found) == min(len(present), 100)
    finally:
        stop_server(server)


def people(client: httpx.Client) -> set[str]:
    found: set[str] = set()
    cursor: str | None = None
    while True:
        page = client.get("/users", params={"limit": 500, **({"cursor": cursor} if cursor else {})}).json()
        found |= {person["user_id"] for person in page["users"]}
        cursor = page["next"]
        if cursor is None:
            return found
