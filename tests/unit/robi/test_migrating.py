"""`robi migrate`: from SQLite to PostgreSQL and back, as somebody at the command line does it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from core.domain.faces import PackInfo
from core.domain.templates import NewTemplate
from core.ledger.ledger import Ledger
from core.runtime import data_dir
from robi.cli.main import main
from tests.postgres_server import PostgresServer

PACK = PackInfo("open", "ab" * 32, 4, "")


@pytest.fixture
def gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory in which Ana is enrolled."""
    monkeypatch.chdir(tmp_path)  # where no .env is
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with closing(Ledger.open(tmp_path / "data" / "ledger.db", PACK)) as ledger:
        ledger.people.enroll("ana", "Ana", [NewTemplate(np.ones(4, np.float32), 0.9, "api")])
    return tmp_path / "data"


def test_there_and_back(
    gallery: Path,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = postgres.database()
    assert main(["migrate", "--data-dir", str(gallery), "--to", place.get_secret_value()]) == 0
    told = capsys.readouterr().out
    assert "1 person, 1 template and everything else copied" in told
    assert "Set DATABASE_URL" in told
    with closing(Ledger.open(place, PACK)) as ledger:
        ledger.people.update("ana", name="Ana Ruiz")
    monkeypatch.setenv("DATABASE_URL", place.get_secret_value())
    assert main(["migrate", "--data-dir", str(gallery), "--to", "sqlite"]) == 2
    assert "ledger_not_empty" in capsys.readouterr().err, "the old one still lies there"
    (gallery / "ledger.db").unlink()
    assert main(["migrate", "--data-dir", str(gallery), "--to", "sqlite"]) == 0
    with closing(Ledger.open(gallery / "ledger.db", PACK)) as ledger:
        assert ledger.people.one("ana").name == "Ana Ruiz"


def test_not_while_robi_runs(
    gallery: Path, postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(data_dir.hold(gallery)):
        to = postgres.database().get_secret_value()
        assert main(["migrate", "--data-dir", str(gallery), "--to", to]) == 2
    assert "data_dir_locked" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("to", "code"),
    [
        ("sqlite", "bad_parameter"),
        ("mysql://me:secret@host/robi", "invalid_setting"),
        ("postgresql://me:secret@127.0.0.1:1/robi", "ledger_unreachable"),
    ],
)
def test_what_cannot_be_is_refused_without_a_password(
    gallery: Path, capsys: pytest.CaptureFixture[str], to: str, code: str
) -> None:
    assert main(["migrate", "--data-dir", str(gallery), "--to", to]) == 2
    error = capsys.readouterr().err
    assert code in error
    assert "secret" not in error
