from __future__ import annotations

import random
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.domain.events import NewEvent
from core.domain.faces import PackInfo
from core.ledger.ledger import Ledger

if TYPE_CHECKING:
    from tests.unit.ledger.conftest import MakeTemplates


@pytest.fixture
def kind() -> str:
    """Files are looked into: a server's are its own."""
    return "sqlite"


def content(path: Path) -> bytes:
    """All bytes that the ledger has on the disk, log included."""
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_nothing_of_an_erased_person_stays_in_the_files(
    ledger: Ledger, path: Path, make: MakeTemplates
) -> None:
    """Many people in random order, so that pages split, merge and are reused around the erased ones."""
    dice = random.Random(11)
    erased: dict[str, list[bytes]] = {}
    alive: dict[str, list[bytes]] = {}
    for number in range(250):
        user_id, name, note = (
            f"u{number}",
            f"Qzx{dice.randrange(10**12):012d}",
            f"Note{dice.getrandbits(60):x}",
        )
        templates = make(dice.randint(1, 3), thumbnail=f"Thumb{note}".encode())
        traces = [name.encode(), name.lower().encode(), note.encode()]
        traces += [t.vector.tobytes()[start : start + 24] for t in templates for start in (0, 200, 488)]
        padding = "x" * dice.choice([0, 0, 6_000])
        ledger.people.enroll(user_id, name, templates, metadata={"note": note, "padding": padding})
        ledger.events.record([NewEvent(datetime.now(UTC), "verified", user_id)])
        alive[user_id] = traces
        if dice.random() < 0.3:
            renamed = dice.choice(list(alive))
            ledger.people.update(renamed, name=f"{ledger.people.one(renamed).name} Renamed")
        if dice.random() < 0.4:
            gone = dice.choice(list(alive))
            ledger.people.erase(gone)
            erased[gone] = alive.pop(gone)
    last = next(iter(alive))
    ledger.people.erase(last)
    erased[last] = alive.pop(last)
    bytes_left = content(path)
    assert all(trace in bytes_left for trace in alive["u249"])  # the search does find what is there
    assert [user_id for user_id, traces in erased.items() if any(t in bytes_left for t in traces)] == []


def test_former_names_are_on_record_until_the_person_is_erased(
    ledger: Ledger, path: Path, make: MakeTemplates
) -> None:
    ledger.people.enroll("ana-2", "Twin Unmentionable", make())
    ledger.people.enroll("ana", "Ana Unmentionable", make())
    ledger.people.update("ana", name="Ana Lind")
    ledger.people.merge("ana-2", "ana")
    assert b"Ana Unmentionable" in content(path)
    ledger.people.erase("ana")
    assert b"Unmentionable" not in content(path)
    assert b"Ana Lind" not in content(path)


def test_the_reserve_is_written_through_no_link(tmp_path: Path, pack: PackInfo) -> None:
    elsewhere = tmp_path / "elsewhere"
    data = tmp_path / "data"
    data.mkdir()
    (data / "ledger.db.reserve").symlink_to(elsewhere)
    Ledger.open(data / "ledger.db", pack).close()
    assert not elsewhere.exists()


def test_a_reader_in_the_way_only_delays_the_scrubbing(
    ledger: Ledger, path: Path, make: MakeTemplates
) -> None:
    ledger.people.enroll("ana", "Ana Unmentionable", make())
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM people").fetchall()
    ledger.people.erase("ana")
    assert b"Ana Unmentionable" in content(path)
    reader.execute("ROLLBACK")
    reader.close()
    ledger.events.record([NewEvent(datetime.now(UTC), "anything")])
    assert b"Ana Unmentionable" not in content(path)
