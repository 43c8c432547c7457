"""The process's resources: all of them are open, or none."""

import os
from pathlib import Path

import psutil
import pytest

from core.config.settings import Settings
from core.domain.errors import StartError, Unavailable
from core.ledger.ledger import Ledger
from core.ledger.tunings import Tunings
from dashboard.shared import resources


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


def test_what_is_kept_is_nobody_elses_to_read(tmp_path: Path) -> None:
    """Also what lay open before: a directory and a ledger that everybody could read and write."""
    data = tmp_path / "data"
    resources.open_resources(Settings(_env_file=None, robi_data_dir=data))
    resources.close_resources()
    data.chmod(0o777)
    (data / "ledger.db").chmod(0o666)
    resources.open_resources(Settings(_env_file=None, robi_data_dir=data))
    try:
        modes = {path.name: path.stat().st_mode & 0o077 for path in (data, *data.glob("ledger.db*"))}
        modes["robi.lock"] = (data / "robi.lock").stat().st_mode & 0o077
        assert modes == dict.fromkeys(modes, 0)
        assert {"data", "ledger.db", "ledger.db-wal", "robi.lock"} <= modes.keys()
    finally:
        resources.close_resources()


def test_a_lock_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "precious"
    data.mkdir()
    elsewhere.write_text("precious")
    (data / "robi.lock").symlink_to(elsewhere)
    with pytest.raises(StartError) as problem:
        resources.open_resources(Settings(_env_file=None, robi_data_dir=data))
    assert problem.value.code == "data_dir_unusable"
    assert elsewhere.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
def test_somebody_elses_directory_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 12345, 12345)
    data.chmod(0o777)
    with pytest.raises(StartError, match="somebody else"):
        resources.open_resources(Settings(_env_file=None, robi_data_dir=data))
