"""Backups taken while another process enrolls and erases all the time: each is one moment of the gallery."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import pytest

from core.backup.erasure_list import NAME
from core.backup.making import back_up
from core.backup.restoring import restore
from core.backup.sealing import Secret
from tests.unit.backup.conftest import opened, rows

BACKUPS = 8
_WRITES = """
import sys
from pathlib import Path
from core.backup.erasure_list import ErasureLists
from core.domain.templates import NewTemplate
from tests.unit.backup.conftest import face, opened

data_dir = Path(sys.argv[1])
ledger = opened(data_dir)
lists = ErasureLists([data_dir / "erasures.list"], ledger.feed.gallery_id, ledger.erased)
lists.follow()
for number in range(1_000_000):
    done = ledger.people.enroll(f"w{number}", "Somebody", [NewTemplate(face(number), 0.9, "api")] * 3)
    print("enrolled", number, done.seq, flush=True)
    if number % 2:
        done = ledger.people.erase(f"w{number // 2}")
        lists.follow()
        print("erased", number // 2, done.seq, flush=True)
"""


@dataclass
class Writer:
    """Tells who was acknowledged, by the seq of what was done."""

    enrolled: dict[str, int] = field(default_factory=dict)
    erased: dict[str, int] = field(default_factory=dict)

    def listen(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            what, number, seq = line.split()
            getattr(self, what)[f"w{number}"] = int(seq)

    def wait_for(self, more: int) -> None:
        until = len(self.enrolled) + more
        for _ in range(3000):
            if len(self.enrolled) >= until:
                return
            time.sleep(0.01)
        raise AssertionError("the writer has stopped")


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    opened(tmp_path / "data").close()
    child = subprocess.Popen(
        [sys.executable, "-c", _WRITES, tmp_path / "data"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    told = Writer()
    listening = Thread(target=told.listen, args=(child,))
    listening.start()
    try:
        told.wait_for(1)
        yield told
    finally:
        child.kill()
        listening.join()
        child.wait()
        child.stdout.close()


@pytest.mark.slow
def test_everybody_acknowledged_before_is_there_and_nobody_erased_before(
    writer: Writer, tmp_path: Path, secret: Secret | None
):
    made: list[tuple[Path, int, set[str], set[str]]] = []
    for number in range(BACKUPS):
        writer.wait_for(15)
        enrolled, erased = set(writer.enrolled), set(writer.erased)  # acknowledged before it began
        backup = tmp_path / f"{number}.backup"
        made.append((backup, back_up(tmp_path / "data", backup, secret).ledger.seq, enrolled, erased))
    writer.wait_for(15)
    assert len({seq for _, seq, *_ in made}) == BACKUPS

    for backup, seq, enrolled, erased in made:
        new = tmp_path / f"{backup.stem}-alone"
        restore(backup, new, secret, [])
        held = rows(new)
        there = {row[1] for row in held["people"]}
        until = {user for user, at in writer.enrolled.items() if at <= seq}
        gone = {user for user, at in writer.erased.items() if at <= seq}
        assert enrolled <= until
        assert erased <= gone
        assert there == until - gone
        assert len(held["templates"]) == 3 * len(there)
        assert [row[0] for row in held["changes"]] == list(range(1, seq + 1))

        with_list = tmp_path / f"{backup.stem}-with-list"
        erased_by_now = set(writer.erased)
        restore(backup, with_list, secret, [tmp_path / "data" / NAME])
        assert {row[1] for row in rows(with_list)["people"]} & erased_by_now == set()
