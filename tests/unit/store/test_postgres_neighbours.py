"""Two stores on one PostgreSQL: the other one follows at once, and answers with nobody erased here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from core.config.settings import Settings
from core.domain.faces import Embedding, PackInfo
from core.domain.templates import NewTemplate
from core.ledger.ledger import Ledger
from core.store.hybrid import HybridVectorStore
from core.store.sync import follower
from tests.postgres_server import MIGRATED, PostgresServer

PACK = PackInfo("open", "ab" * 32, 64, "")
Robi = tuple[Ledger, HybridVectorStore]


@pytest.fixture
def open_robi(postgres: PostgresServer, tmp_path: Path) -> Iterator[Callable[[], Robi]]:
    place = postgres.database(MIGRATED)
    opened: list[Robi] = []

    def make() -> Robi:
        directory = tmp_path / str(len(opened))
        directory.mkdir()
        settings = Settings(_env_file=None, robi_data_dir=directory, database_url=place)
        ledger = Ledger.open(settings.ledger, PACK)
        opened.append((ledger, HybridVectorStore.open(settings, ledger.feed, PACK, directory)))
        return opened[-1]

    yield make
    for ledger, store in opened:
        store.close()
        ledger.close()


def vector(number: int) -> Embedding:
    return np.random.default_rng(number).standard_normal(64).astype(np.float32)


def test_followers_are_woken_before_they_would_have_looked(
    open_robi: Callable[[], Robi], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "POLL_SECONDS", 30.0)
    (ledger, _), (_, there) = open_robi(), open_robi()
    time.sleep(0.5)  # the first round of both is over
    for number in range(3):
        seq = ledger.people.enroll(f"p{number}", "P", [NewTemplate(vector(number), 0.9, "api")]).seq
        deadline = time.monotonic() + 5
        while any(state.lag for state in there.states()) or there.states()[0].seq < seq:
            assert time.monotonic() < deadline, "nobody has woken the followers"
            time.sleep(0.01)
        assert there.search(vector(number), k=1).candidates[0].user_id == f"p{number}"


def test_who_was_erased_elsewhere_is_answered_by_no_search_that_began_later(
    open_robi: Callable[[], Robi],
) -> None:
    (ledger, _), (other, there) = open_robi(), open_robi()
    for number in range(40):
        ledger.people.enroll(f"p{number}", "P", [NewTemplate(vector(number), 0.9, "api")])
    there.sync(other.feed.head())
    erased: set[str] = set()
    wrong: list[str] = []
    ended = threading.Event()

    def search() -> None:
        random = np.random.default_rng(3)
        while not ended.is_set():
            gone = set(erased)
            found = there.search(vector(int(random.integers(40))), k=5).candidates
            wrong.extend(one.user_id for one in found if one.user_id in gone)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(40):
        ledger.people.erase(f"p{number}")
        erased.add(f"p{number}")
    ended.set()
    for thread in threads:
        thread.join()
    assert wrong == []
