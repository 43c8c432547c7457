"""A copy of a ledger is one moment of it, whatever is written while it is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.domain.errors import Unavailable
from core.domain.faces import PackInfo
from core.ledger.file_copy import contents_of, copied, examined
from core.ledger.ledger import Ledger
from tests.unit.ledger.conftest import SQLITE, MakeTemplates

LARGE = 1 << 20  # of a photo


@SQLITE
def test_what_is_written_while_it_is_copied_is_not_in_it(
    ledger: Ledger, path: Path, make: MakeTemplates, tmp_path: Path
) -> None:
    for number in range(3):
        ledger.people.enroll(f"p{number}", "Ana", make(20, thumbnail=os.urandom(LARGE)))
    head, enrolled = ledger.feed.head(), []

    def write() -> None:
        number = len(enrolled)
        enrolled.append(ledger.people.enroll(f"q{number}", "Eva", make(2, thumbnail=os.urandom(LARGE))))
        ledger.people.erase(f"p{number}" if number < 3 else f"q{number}")

    with copied(path, write) as (contents, file):
        (tmp_path / "copy.db").write_bytes(file.read())
    assert len(enrolled) > 3, "it was copied in several steps"
    assert (contents.seq, contents.people, contents.templates) == (head, 3, 60)
    assert contents_of(tmp_path / "copy.db") == contents
    copy = Ledger.open(tmp_path / "copy.db", PackInfo("open", "ab" * 32, 128, ""))
    assert copy.feed.head() == head
    assert copy.people.find("p0") is not None
    assert copy.people.find("q0") is None
    copy.close()


@SQLITE
def test_it_ends_when_that_is_wished(ledger: Ledger, path: Path, make: MakeTemplates) -> None:
    ledger.people.enroll("ana", "Ana", make(20, thumbnail=os.urandom(LARGE)))
    before = set(path.parent.iterdir())

    def enough() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError), copied(path, enough):
        raise AssertionError("it was not ended")
    assert set(path.parent.iterdir()) == before


def test_what_is_no_ledger_is_refused() -> None:
    for data in (b"", b"no database at all" * 1000):
        with pytest.raises(Unavailable):
            examined(lambda file, data=data: file.write(data))
