"""A data directory holds vectors of one gallery: another one's ledger is refused, on whichever database."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.domain.errors import StartError
from core.domain.faces import PackInfo
from core.ledger import belonging
from core.ledger.ledger import Ledger
from core.ledger.opening import Place
from tests.unit.ledger.conftest import MakePlace, MakeTemplates


@pytest.fixture
def kind() -> str:
    """A file says itself whose it is; this is for a server."""
    return "postgres"


def start(directory: Path, place: Place, pack: PackInfo) -> str:
    """As Robi does; the gallery's id."""
    belonging.check_before(directory, place)
    ledger = Ledger.open(place, pack)
    try:
        belonging.check_after(directory, place, ledger.feed.gallery_id)
        return ledger.feed.gallery_id
    finally:
        ledger.close()


def refused(directory: Path, place: Place, pack: PackInfo) -> str:
    with pytest.raises(StartError) as problem:
        start(directory, place, pack)
    return problem.value.code


def test_the_gallery_that_a_directory_belongs_to_is_taken_again(
    tmp_path: Path, place: Place, pack: PackInfo
) -> None:
    assert start(tmp_path, place, pack) == start(tmp_path, place, pack)


def test_the_database_of_another_gallery_is_refused(
    tmp_path: Path, place: Place, make_place: MakePlace, pack: PackInfo
) -> None:
    start(tmp_path, place, pack)
    assert refused(tmp_path, make_place(), pack) == "ledger_mismatch"
    start(tmp_path, place, pack)


def test_an_empty_database_does_not_take_the_place_of_people_in_a_file(
    tmp_path: Path, place: Place, pack: PackInfo, make: MakeTemplates
) -> None:
    file = tmp_path / "ledger.db"
    start(tmp_path, file, pack)
    ledger = Ledger.open(file, pack)
    ledger.people.enroll("ana", "Ana", make())
    ledger.close()
    assert refused(tmp_path, place, pack) == "ledger_mismatch"
    start(tmp_path, file, pack)


def test_without_the_address_no_empty_gallery_is_begun(tmp_path: Path, place: Place, pack: PackInfo) -> None:
    start(tmp_path, place, pack)
    assert refused(tmp_path, tmp_path / "ledger.db", pack) == "ledger_mismatch"
    assert not (tmp_path / "ledger.db").exists()
