"""The process's resources: all of them are open, or none."""

from pathlib import Path

import psutil
import pytest

from core.config import Settings
from core.errors import StartError, Unavailable
from core.ledger.ledger import Ledger
from core.ledger.tunings import Tunings
from dashboard import resources


def test_a_ledger_that_cannot_be_read_stops_the_start_in_words_and_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(_env_file=None, robi_data_dir=tmp_path / "data")
    closed: list[Ledger] = []
    close = Ledger.close

    def unreadable(*_args: object, **_named: object) -> None:
        raise Unavailable("ledger_unavailable", "The ledger cannot be used.", "Check the disk.")

    def noted(ledger: Ledger) -> None:
        closed.append(ledger)
        close(ledger)

    before = set(psutil.Process().children(recursive=True))
    with monkeypatch.context() as patched:
        patched.setattr(Tunings, "latest", unreadable)
        patched.setattr(Ledger, "close", noted)
        with pytest.raises(StartError, match="cannot be used"):
            resources.open_resources(settings)
    assert len(closed) == 1
    assert set(psutil.Process().children(recursive=True)) <= before  # no Qdrant child is left
    resources.open_resources(settings)  # nor is the lock held
    resources.close_resources()
